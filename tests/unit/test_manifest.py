"""Manifests of plugin packages: reading them, and reporting invalid ones."""

import math
from pathlib import Path

import pytest

from sparkle_app.model.buckets import Statistics
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.plugin.manifest import find_packages
from sparkle_app.plugin.panel import Panel, parse_panel, with_bounds

VALID = 'NAME = "{name}"\nVERSION = "{version}"\nAUTHOR = "me"\nTOPIC = "telemetry"\n'


def package(folder: Path, manifest: str | None, init: str = "") -> None:
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(init)
    if manifest is not None:
        (folder / "manifest.py").write_text(manifest)


def test_packages_are_found_without_importing_them(tmp_path: Path) -> None:
    package(tmp_path / "fans", VALID.format(name="Fans", version="1.0"), init="raise RuntimeError")
    package(tmp_path / "_drafts", "nonsense")
    package(tmp_path / ".hidden", "nonsense")
    (tmp_path / "no_package").mkdir()
    found = find_packages(tmp_path)
    assert [(each.name, each.version, each.topic, each.description) for each in found.manifests] == [
        ("Fans", "1.0", "telemetry", "")
    ]
    assert (found.errors, found.warnings) == ([], [])


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_the_package_with_the_higher_version_is_used(tmp_path: Path, order: tuple[str, str]) -> None:
    for folder, version in zip(order, ("1.10.0", "1.9.0"), strict=True):
        package(tmp_path / folder, VALID.format(name="Fans", version=version))
    found = find_packages(tmp_path)
    assert [each.version for each in found.manifests] == ["1.10.0"]
    (warning,) = found.warnings
    assert f"{order[1]} (version 1.9.0) is not used" in warning


@pytest.mark.parametrize(
    ("folders", "used"),
    [
        (("fans", "fans-old"), "fans"),
        (("a fans", "FANS"), "FANS"),
        (("aaa", "fans", "zzz"), "fans"),
        (("old", "new"), "new"),
    ],
)
def test_of_packages_with_the_same_version_that_named_as_the_plugin_is_used_or_the_first(
    tmp_path: Path, folders: tuple[str, ...], used: str
) -> None:
    for folder, version in zip(folders, ("1.0", "1.0.0", "1"), strict=False):
        package(tmp_path / folder, VALID.format(name="Fans", version=version))
    found = find_packages(tmp_path)
    assert [each.folder.name for each in found.manifests] == [used]
    assert len(found.warnings) == len(folders) - 1
    assert found.warnings[-1].endswith(f"is not used, because {tmp_path / used} has the same version")


def test_a_copy_whose_folder_cannot_be_imported_replaces_nothing(tmp_path: Path) -> None:
    package(tmp_path / "fans", VALID.format(name="Fans", version="1.0"))
    package(tmp_path / "fans.bak", VALID.format(name="Fans", version="2.0"))
    found = find_packages(tmp_path)
    assert [(each.folder.name, each.version) for each in found.manifests] == [("fans", "1.0")]
    assert found.warnings == []
    assert [str(error) for error in found.errors] == [
        f"plugin fans.bak ({tmp_path}/fans.bak): expected a folder without '.' in its name, found 'fans.bak';"
        " rename it, or move a copy out of the plugins folder"
    ]


def test_what_a_package_prints_is_no_part_of_the_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package(
        tmp_path / "printing_fans",
        VALID.format(name="Printing_Fans", version="1") + 'print("manifest")\n',
        init='print("package")',
    )
    load_plugins(tmp_path)
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.split() == ["manifest", "package"]


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (None, "expected NAME as a string, found None"),
        ("NAME = ", "SyntaxError: invalid syntax (manifest.py, line 1)"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("1 / 0", "ZeroDivisionError"),
        ("", "expected NAME as a string, found None"),
        ('NAME = "a"\nVERSION = [1]', "expected VERSION as a string, found [1]"),
        ('NAME = "a"\nVERSION = True', "expected VERSION as a string, found True"),
        (
            VALID.format(name="a/b", version="1"),
            "expected NAME with 1 to 100 printable characters without '/'",
        ),
        (VALID.format(name="a\\nb", version="1"), "expected NAME with 1 to 100 printable characters"),
        *(
            (
                VALID.format(name=name, version="1"),
                f"no '-' at the start, and none of '.', '..', 'host', 'state', 'last_seen', found '{name}'",
            )
            for name in ("..", "host", "state", "last_seen", "-Fans")
        ),
        (VALID.format(name=" a", version="1"), "expected NAME with 1 to 100 printable characters"),
        (VALID.format(name="a" * 101, version="1"), "expected NAME with 1 to 100 printable characters"),
        (VALID.format(name="a", version="new"), "expected VERSION such as 1.0.0, found 'new'"),
        (
            VALID.format(name="a", version="1").replace("telemetry", "tele/metry"),
            "expected TOPIC with letters, digits, '.', '_' and '-' only, and neither '.' nor '..', found 'tele/metry'",
        ),
        *(
            (
                VALID.format(name="a", version="1").replace("telemetry", topic),
                f"and neither '.' nor '..', found '{topic}'",
            )
            for topic in (".", "..")
        ),
    ],
)
def test_an_invalid_manifest_is_reported_and_other_packages_are_used(
    tmp_path: Path, manifest: str | None, expected: str
) -> None:
    package(tmp_path / "broken", manifest)
    package(tmp_path / "fans", VALID.format(name="Fans", version="1.0"))
    found = find_packages(tmp_path)
    assert [each.name for each in found.manifests] == ["Fans"]
    (error,) = found.errors
    assert str(error).startswith("plugin broken (")
    assert expected in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        ("", "expected NAME as a string, found None"),
        ('NAME = "Fans"\nVERSION = = 1', "SyntaxError: invalid syntax (__init__.py, line 2)"),
        ('NAME = "Fans"\nVERSION = "new"\nAUTHOR = "me"', "expected VERSION such as 1.0.0, found 'new'"),
    ],
)
def test_an_error_without_a_manifest_names_the_init_file(tmp_path: Path, init: str, expected: str) -> None:
    package(tmp_path / "broken", None, init)
    (error,) = find_packages(tmp_path).errors
    assert str(error).startswith(f"plugin broken ({tmp_path}/broken/__init__.py): ")
    assert expected in str(error)
    assert "manifest.py" not in str(error)


@pytest.mark.parametrize("file", ["manifest.py", "server.py", "main.py"])
def test_a_plugin_without_an_init_file_is_reported(tmp_path: Path, file: str) -> None:
    package(tmp_path / "fans", None)
    (tmp_path / "fans" / "__init__.py").unlink()
    (tmp_path / "fans" / file).write_text(VALID.format(name="Fan_Speed", version="1"))
    for folder in ("__pycache__", "docs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "notes.md").touch()
    found = find_packages(tmp_path)
    assert (found.manifests, found.warnings) == ([], [])
    name = "Fan_Speed" if file == "manifest.py" else "fans"
    assert [str(error) for error in found.errors] == [
        f"plugin {name} ({tmp_path}/fans): expected __init__.py, found none; see docs/plugins.md"
    ]


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere: expected a folder of plugins"):
        find_packages(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["Температура", "Fan speed", "温度", "a" * 100, "Größe №1"])
def test_a_name_may_have_any_printable_characters(tmp_path: Path, name: str) -> None:
    package(tmp_path / "fans", VALID.format(name=name, version="1.0"))
    (manifest,) = find_packages(tmp_path).manifests
    assert manifest.name == name


@pytest.mark.parametrize(("version", "expected"), [("1.0", "1.0"), ("2", "2")])
def test_a_version_may_be_a_number(tmp_path: Path, version: str, expected: str) -> None:
    package(tmp_path / "fans", f'NAME = "Fans"\nVERSION = {version}\nAUTHOR = "me"\n')
    package(tmp_path / "init", None, f'NAME = "Init"\nVERSION = {version}\nAUTHOR = "me"\n')
    found = find_packages(tmp_path)
    assert [manifest.version for manifest in found.manifests] == [expected, expected]


def statistics(average: float) -> Statistics:
    return Statistics(2, 2 * average, average - 1, average + 1, average, 0)


@pytest.mark.parametrize(
    ("panel", "found"),
    [
        ([], "Expected `object`, got `array`"),
        ({"colour": 1}, "Object contains unknown field `colour`"),
        ({"title": {"en": "Fans"}}, "Object missing required field `ru` - at `$.title`"),
        ({"scale": (5, 5)}, "'scale' as two numbers, the smaller one first"),
        ({"thresholds": [{"value": math.inf, "severity": "warning"}]}, "finite numbers"),
        ({"thresholds": [{"value": 1, "severity": "odd"}]}, "Invalid enum value 'odd'"),
        ({"title": "\ud800"}, "a text with a lone surrogate"),
        ({"headline": {"metric": "\udfff"}}, "a text with a lone surrogate"),
        ({"quantity": "taste"}, "Invalid enum value 'taste' - at `$.quantity`"),
    ],
)
def test_a_plugin_with_an_invalid_panel_is_not_loaded(tmp_path: Path, panel: object, found: str) -> None:
    package(
        tmp_path / "fans", f"{VALID.format(name='Fans', version='1')}from math import inf\nPANEL = {panel!r}"
    )
    plugins = load_plugins(tmp_path)
    assert not plugins.installed
    (error,) = plugins.errors
    assert str(error).startswith(f"plugin Fans ({tmp_path / 'fans'}): expected PANEL as described in")
    assert found in str(error)


@pytest.mark.parametrize("name", ["AUTHOR", "DESCRIPTION"])
def test_a_text_that_no_response_can_contain_is_reported(tmp_path: Path, name: str) -> None:
    manifest = VALID.format(name="Fans", version="1")
    package(tmp_path / "fans", f"{manifest}{name} = '\\ud800'")
    plugins = load_plugins(tmp_path)
    assert not plugins.installed
    (error,) = plugins.errors
    expected = rf"expected {name} without lone surrogates, found '\ud800'; correct it"
    assert str(error) == f"plugin Fans ({tmp_path / 'fans'}): {expected}"


def test_a_plugin_without_a_panel_is_shown_with_the_defaults(tmp_path: Path) -> None:
    package(tmp_path / "fans", VALID.format(name="Fans", version="1"))
    (manifest,) = find_packages(tmp_path).manifests
    panel = parse_panel(manifest.panel)
    assert panel == Panel()
    assert with_bounds(panel, 0, 100).scale == (0.0, 100.0)
    assert with_bounds(panel, 0, math.inf).scale is None
    assert with_bounds(parse_panel({"scale": (1, 2)}), 0, 100).scale == (1.0, 2.0)
    assert panel.state(1e300) == "ok"
    assert panel.headline_of({"b": statistics(3), "a": statistics(3), "c": statistics(1)}) == "a"


def test_the_headline_is_the_declared_metric_or_that_with_the_declared_statistic() -> None:
    panel = parse_panel({"headline": {"metric": "total", "statistic": "minimum"}})
    metrics = {"b": statistics(3), "a": statistics(1), "total": statistics(2)}
    assert panel.headline_of(metrics) == "total"
    del metrics["total"]
    assert panel.headline_of(metrics) == "a"


def test_the_state_is_that_of_the_most_severe_threshold() -> None:
    above = [{"value": 80, "severity": "warning"}, {"value": 95, "severity": "critical"}]
    below = [{"value": 10, "severity": "critical", "when": "below"}]
    panel = parse_panel({"thresholds": [*above, *below]})
    states = [panel.state(value) for value in (9.9, 10, 80, 80.1, 95, 96)]
    assert states == ["critical", "ok", "ok", "warning", "warning", "critical"]
