"""The demo's collector goes on when a plugin fails."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from demo.collector import load_archive, next_collection
from demo.payloads import Problems, read_plugins
from sparkle_app.collector_config import make_config
from sparkle_app.plugin.manifest import find_packages
from tests.support.eventually import eventually

PROJECT = Path(__file__).parents[2]


class NotANumber:
    """As a number of numpy: JSON cannot express it."""


def plugin(name: str, get_payload: Callable[[], Any]) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(NAME=name, TOPIC="telemetry", get_payload=get_payload)
    return module


def read(get_payload: Callable[[], Any], problems: Problems | None = None) -> list[tuple[str, str, Any]]:
    """The readings of a plugin and of a good one after it."""
    plugins = [plugin("Bad", get_payload), plugin("Good", lambda: {"a": 1})]
    found = read_plugins(plugins, 214, problems or Problems())
    return [(each.NAME, key, value) for each, key, value in found]


def fail(error: BaseException) -> Callable[[], Any]:
    def get_payload() -> Any:
        raise error

    return get_payload


@pytest.mark.parametrize(
    ("get_payload", "problem"),
    [
        (fail(OSError(5, "x\n\x1b[2J")), "failed, OSError: [Errno 5] x \ufffd[2J"),
        (fail(SystemExit(3)), "failed, SystemExit: 3"),
        (fail(RecursionError()), "failed, RecursionError"),
        (lambda: None, "get_payload() returned a NoneType, expected a dict"),
        (lambda: [1], "get_payload() returned a list, expected a dict"),
        (lambda: "text", "get_payload() returned a str, expected a dict"),
    ],
)
def test_a_plugin_that_fails_costs_its_own_readings(
    caplog: pytest.LogCaptureFixture, get_payload: Callable[[], Any], problem: str
) -> None:
    problems = Problems()
    for _ in range(3):
        assert read(get_payload, problems) == [("Good", "a", 1)]
    assert caplog.messages == [f"plugin Bad: {problem}; its readings are left out"]


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("k", Decimal("1.5"), "key 'k': expected a value that JSON can express, found Decimal: "),
        ("k", b"1", "key 'k': expected a value that JSON can express, found bytes: "),
        ("k", NotANumber(), "key 'k': expected a value that JSON can express, found NotANumber: "),
        ("k", float("nan"), "key 'k': expected a value that JSON can express, found float: "),
        ("k", [float("inf")], "key 'k': expected a value that JSON can express, found list: "),
        (7, 1, "expected a key of type str, found int"),
        (None, 1, "expected a key of type str, found NoneType"),
        ("a\udcff", 1, r"key 'a\udcff': expected a key in UTF-8, found UnicodeEncodeError: "),
        ("k" * 175, 1, f"key '{'k' * 60}': expected at most 214 bytes of JSON, found 215"),
        ("ж" * 40, 1, f"key '{'ж' * 40}': expected at most 214 bytes of JSON, found 280"),
    ],
)
def test_a_reading_that_cannot_be_sent_is_left_out(
    caplog: pytest.LogCaptureFixture, key: Any, value: Any, problem: str
) -> None:
    problems = Problems()
    for _ in range(3):
        found = read(lambda: {"first": 1, key: value, "last": {"any": ["JSON", None]}}, problems)
        assert found == [("Bad", "first", 1), ("Bad", "last", {"any": ["JSON", None]}), ("Good", "a", 1)]
    (line,) = caplog.messages
    assert line.startswith(f"plugin Bad, readings: 1 of 3 left out, {problem}")


def test_a_reading_of_214_bytes_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    assert len(read(lambda: {"k" * 174: 1})) == 2
    assert caplog.messages == []


def test_many_readings_that_cannot_be_sent_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    read(lambda: {f"k{number}": b"" for number in range(1000)})
    (line,) = caplog.messages
    assert line.startswith("plugin Bad, readings: 1000 of 1000 left out, key 'k0': ")


def test_a_problem_is_logged_again_after_an_hour(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [10.0]
    monkeypatch.setattr("demo.payloads.time", SimpleNamespace(monotonic=lambda: now[0]))
    problems = Problems()
    for seconds in (0, 3599, 1, 3599):
        now[0] += seconds
        read(list, problems)
    assert len(caplog.messages) == 2


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (100.0, (105.0, 0)),
        (104.9, (105.0, 0)),
        (105.0, (110.0, 1)),
        (117.5, (120.0, 3)),
        # The clock does not go back, but nothing bad comes of it.
        (90.0, (105.0, 0)),
    ],
)
def test_missed_collections_are_skipped(now: float, expected: tuple[float, int]) -> None:
    assert next_collection(100.0, 5.0, now) == expected


def package(plugins: Path, name: str, main: str) -> None:
    folder = plugins / name
    folder.mkdir(parents=True)
    manifest = f'NAME = "{name.title()}"\nVERSION = "1.0"\nAUTHOR = "me"\nTOPIC = "telemetry"\n'
    (folder / "manifest.py").write_text(manifest)
    (folder / "main.py").write_text(main)
    (folder / "__init__.py").write_text(
        "from .manifest import AUTHOR, NAME, TOPIC, VERSION\nfrom .main import get_payload\n"
    )


def make_archive(tmp_path: Path) -> Path:
    manifests = find_packages(tmp_path / "plugins").manifests
    made = make_config(manifests, address="h", port=1, interval=5, output=tmp_path, certs=tmp_path / "certs")
    return made.archive


@pytest.mark.usefixtures("collector_imports")
@pytest.mark.parametrize(
    "code", ["raise RuntimeError('x')", "def f(:", "import no_such_module", "raise SystemExit"]
)
def test_a_plugin_that_cannot_be_imported_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    package(tmp_path / "plugins", "bad", code)
    package(tmp_path / "plugins", "good", "def get_payload():\n    return {'a': 1}\n")
    with caplog.at_level(logging.INFO):
        archive = load_archive(make_archive(tmp_path), tmp_path / "unpacked")
    assert [each.NAME for each in archive.plugins] == ["Good"]
    broken, running = caplog.messages
    assert broken.startswith("plugin package bad: cannot be imported, found ")
    assert running == "running without the plugins Bad"


@pytest.mark.usefixtures("collector_imports")
def test_without_any_plugin_the_collector_does_not_start(tmp_path: Path) -> None:
    package(tmp_path / "plugins", "bad", "raise RuntimeError('x')")
    with pytest.raises(SystemExit, match="expected the plugins Bad, found none"):
        load_archive(make_archive(tmp_path), tmp_path / "unpacked")


SLOW_ONCE = """
import time
calls = 0

def get_payload():
    global calls
    calls += 1
    with open({calls!r}, "a") as file:
        file.write(f"{{time.monotonic()}}\\n")
    if calls == 2:
        time.sleep(1.3)
    raise RuntimeError
"""


def test_the_process_survives_and_does_not_make_up_for_missed_collections(tmp_path: Path) -> None:
    times = tmp_path / "times"
    package(tmp_path / "plugins", "slow", SLOW_ONCE.format(calls=str(times)))
    archive = make_archive(tmp_path)
    command = [sys.executable, "-m", "demo.collector", "--archive", str(archive), "--interval", "0.2"]
    command += ["--folder", str(tmp_path / "unpacked"), "--server", "127.0.0.1:21099"]
    with subprocess.Popen(
        command, cwd=PROJECT, stderr=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        try:
            eventually(
                lambda: times.read_text().split() if times.exists() else [], lambda found: len(found) >= 6
            )
            assert process.poll() is None
            process.terminate()
            assert process.stderr is not None
            log = process.stderr.read()
        finally:
            process.kill()
    started = [float(line) for line in times.read_text().split()]
    # No two collections are closer than the interval, up to the exactness of a sleep on a busy machine.
    assert started[2] - started[1] >= 1.3
    assert started[5] - started[2] >= 0.4
    assert log.count("plugin Slow: failed, RuntimeError; its readings are left out") == 1
    assert log.count("took longer than the interval of 0.2 s") == 1
