"""The maps of the code match the source tree."""

import re
import tomllib
from pathlib import Path

import sparkle_app

PACKAGE = Path(sparkle_app.__file__).parent
ARCHITECTURE = PACKAGE.parent / "docs" / "architecture.md"
FILES = {
    path.relative_to(PACKAGE).with_suffix("").as_posix()
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
}


def test_the_package_docstring_lists_every_module_once() -> None:
    named: list[str] = []
    folders: list[str] = []
    for line in (sparkle_app.__doc__ or "").splitlines():
        if not (entry := re.fullmatch(r"( {4}(?:  )*)([a-z0-9_]+)(/?) +\S.*", line)):
            continue
        depth = (len(entry[1]) - 4) // 2
        folders = folders[:depth]
        if entry[3]:
            folders.append(entry[2])
        else:
            named.append("/".join([*folders, entry[2]]))
    assert sorted(named) == sorted(FILES)


def test_the_architecture_page_names_existing_modules_and_every_package() -> None:
    text = ARCHITECTURE.read_text("utf-8")
    named = set(re.findall(r"`([a-z_/0-9]+)\.py`", text))
    assert sorted(named - FILES) == []
    packages = {path.partition("/")[0] for path in FILES}
    assert sorted(package for package in packages if not re.search(rf"\b{package}\b", text)) == []


def test_the_architecture_page_shows_the_layers_that_lint_checks() -> None:
    contracts = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    (layers,) = (each["layers"] for each in contracts["contracts"] if each["type"] == "layers")
    text = ARCHITECTURE.read_text("utf-8")
    drawn = re.search(r"form layers.*?```\n(.*?)```", text, re.DOTALL)
    assert drawn
    # What a package does is written after some spaces.
    lines = [set(re.findall(r"\w+", re.split("  +", line)[0])) for line in drawn[1].splitlines()]
    assert lines == [set(re.findall(r"\w+", layer)) for layer in layers]


def test_the_files_of_one_database_do_not_import_those_of_another() -> None:
    kinds = ("mysql", "oracle", "postgresql", "sqlite")
    for path in (PACKAGE / "storage" / "dialects").glob("*.py"):
        own = path.stem.partition("_")[0]
        imported = re.findall(r"storage\.dialects(?:\.| import )(\w+)", path.read_text("utf-8"))
        if own in kinds:
            assert {each.partition("_")[0] for each in imported} & set(kinds) <= {own}, path.name


def test_only_one_module_converts_times() -> None:
    sources = {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}
    converting = [name for name, text in sources.items() if re.search(r"[/*%] *1_000_000|60_000_000", text)]
    assert converting == ["model/time.py"]


def test_only_storage_and_the_setting_of_the_url_depend_on_the_kind_of_database() -> None:
    names = re.compile(r"(?i:dialect)|get_backend_name|drivername|\b(?:sqlite|postgresql|psycopg2)\b")
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if names.search(path.read_text("utf-8"))
    }
    # The map of the package; the default and the rules of database.url, of which each database has its own form, and a
    # relative SQLite file; the URL in the example of a command.
    allowed = {
        *("__init__.py", "cli/move.py", "config/sections.py", "config/loading.py", "config/urls.py"),
        *("config/sqlite_url.py", "config/url_parameters.py"),
    }
    assert {file for file in found if not file.startswith("storage/")} == allowed
