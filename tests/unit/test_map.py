"""The maps of the code, checked against the tree."""

import re
from pathlib import Path

import sparkle_app

PACKAGE = Path(sparkle_app.__file__).parent
ARCHITECTURE = PACKAGE.parent / "docs" / "architecture.md"
FILES = {
    path.relative_to(PACKAGE).with_suffix("").as_posix()
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
}


def test_the_map_of_the_package_names_every_file_once_and_no_other() -> None:
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


def test_the_architecture_names_files_that_exist_and_every_room() -> None:
    text = ARCHITECTURE.read_text("utf-8")
    named = set(re.findall(r"`([a-z_/0-9]+)\.py`", text))
    assert sorted(named - FILES) == []
    rooms = {path.partition("/")[0] for path in FILES}
    assert sorted(room for room in rooms if not re.search(rf"\b{room}\b", text)) == []


def test_only_storage_asks_for_a_dialect() -> None:
    asking = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "dialect" in path.read_text("utf-8").lower()
    }
    assert {file for file in asking if not file.startswith("storage/")} == {"__init__.py"}
