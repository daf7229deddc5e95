from pathlib import Path

import pytest

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.manifest import find_packages

GOOD = 'NAME = "{name}"\nVERSION = "{version}"\nAUTHOR = "me"\nTOPIC = "telemetry"\n'


def package(folder: Path, manifest: str | None, init: str = "") -> None:
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(init)
    if manifest is not None:
        (folder / "manifest.py").write_text(manifest)


def test_packages_are_found_without_importing_them(tmp_path: Path) -> None:
    package(tmp_path / "fans", GOOD.format(name="Fans", version="1.0"), init="raise RuntimeError")
    package(tmp_path / "_drafts", "nonsense")
    package(tmp_path / ".hidden", "nonsense")
    (tmp_path / "no_package").mkdir()
    found = find_packages(tmp_path)
    assert [(each.name, each.version, each.topic, each.description) for each in found.manifests] == [
        ("Fans", "1.0", "telemetry", "")
    ]
    assert (found.faults, found.warnings) == ([], [])


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_of_two_packages_with_one_name_the_higher_version_wins(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    for folder, version in zip(order, ("1.10.0", "1.9.0"), strict=True):
        package(tmp_path / folder, GOOD.format(name="Fans", version=version))
    found = find_packages(tmp_path)
    assert [each.version for each in found.manifests] == ["1.10.0"]
    (warning,) = found.warnings
    assert f"{order[1]} (version 1.9.0) is not used" in warning


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        (None, "expected NAME, a text, found None"),
        ("NAME = ", "SyntaxError: invalid syntax (manifest.py, line 1)"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("1 / 0", "ZeroDivisionError"),
        ("", "expected NAME, a text, found None"),
        ('NAME = "a"\nVERSION = 1.0', "expected VERSION, a text, found 1.0"),
        (GOOD.format(name="a b", version="1"), "expected NAME of letters"),
        (GOOD.format(name="a", version="new"), "expected VERSION such as 1.0.0, found 'new'"),
        (GOOD.format(name="a", version="1").replace("telemetry", "tele/metry"), "expected TOPIC of letters"),
    ],
)
def test_a_broken_manifest_is_reported_by_name_and_the_others_go_on(
    tmp_path: Path, manifest: str | None, says: str
) -> None:
    package(tmp_path / "broken", manifest)
    package(tmp_path / "fans", GOOD.format(name="Fans", version="1.0"))
    found = find_packages(tmp_path)
    assert [each.name for each in found.manifests] == ["Fans"]
    (fault,) = found.faults
    assert str(fault).startswith("plugin broken (")
    assert says in str(fault)
    assert "\n" not in str(fault)


@pytest.mark.parametrize(
    ("init", "says"),
    [
        ("", "expected NAME, a text, found None"),
        ('NAME = "Fans"\nVERSION = = 1', "SyntaxError: invalid syntax (__init__.py, line 2)"),
        ('NAME = "Fans"\nVERSION = "new"\nAUTHOR = "me"', "expected VERSION such as 1.0.0, found 'new'"),
    ],
)
def test_without_a_manifest_the_file_that_was_read_is_named(tmp_path: Path, init: str, says: str) -> None:
    package(tmp_path / "broken", None, init)
    (fault,) = find_packages(tmp_path).faults
    assert str(fault).startswith(f"plugin broken ({tmp_path}/broken/__init__.py): ")
    assert says in str(fault)
    assert "manifest.py" not in str(fault)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere: expected a folder of plugins"):
        find_packages(tmp_path / "nowhere")
