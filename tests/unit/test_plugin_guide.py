"""The example plugin in docs/plugins.md works: it is extracted from the page, and stores a reading."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sparkle_app.plugin.panel import Panel, parse_panel
from tests.support.old_python import annotation_faults

PROJECT = Path(__file__).parents[2]
GUIDE = (PROJECT / "docs" / "plugins.md").read_text("utf-8")
RAID_STATE = dict(re.findall(r"`plugins/raid_state/(\S+)`\n\n```python\n(.*?)```", GUIDE, re.DOTALL))
OWN_TEST = re.search(r"`tests/unit/test_fan_speed.py`\n\n```python\n(.*?)```", GUIDE, re.DOTALL)
FILES = dict(re.findall(r"`plugins/fan_speed/(\S+)`\n\n```\w+\n(.*?)```", GUIDE, re.DOTALL))

COLLECT_WITHOUT = """
import psutil

def sensors_fans():
    {failing}

psutil.sensors_fans = sensors_fans
from plugins.fan_speed import get_payload
print(get_payload())
"""

STORE_AND_LOAD = """
import sys
from pathlib import Path
from sqlalchemy.engine import make_url
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.plugin_api import Base, InvalidValue, Reading
from sparkle_app.storage.engine import make_engine, read_transaction

found = load_plugins(Path("plugins"))
assert not found.errors, found.errors
plugin = found.installed["Fan_Speed"]
assert (plugin.manifest.topic, plugin.plugin.unit) == ("telemetry", "rpm")
value = plugin.plugin.validate("thinkpad/fan1", 2900)
try:
    plugin.plugin.validate("thinkpad/fan1", -1)
except InvalidValue:
    print("rejected")
engine = make_engine(make_url("sqlite:///db.sqlite3"))
Base.metadata.create_all(engine)
sent = Reading(bytes(16), 1, "host", "Fan_Speed", "thinkpad/fan1", value, 10, 20, True, "telemetry", 0, 5)
with engine.begin() as connection:
    plugin.plugin.store_readings(connection, [sent])
with read_transaction(engine) as connection:
    (loaded,) = plugin.plugin.load_readings(connection, ["host"], 0, 100)
print(loaded.hostname, loaded.key, plugin.plugin.numeric_value(loaded))
"""


def test_the_example_plugin_works_and_is_short(tmp_path: Path) -> None:
    assert set(FILES) == {"__init__.py", "manifest.py", "requirements.txt", "main.py", "server.py"}
    assert sum(len(text.splitlines()) for text in FILES.values()) < 60
    folder = tmp_path / "plugins" / "fan_speed"
    folder.mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text, "utf-8")
    collected = _python(
        "from plugins.fan_speed import get_payload; print(type(get_payload()).__name__)", tmp_path
    )
    assert collected == "dict\n"
    assert annotation_faults(FILES["main.py"]) == []
    for failing in ("raise OSError(5, 'I/O error')", "raise AttributeError"):
        assert _python(COLLECT_WITHOUT.format(failing=failing), tmp_path) == "{}\n"
    assert _python(STORE_AND_LOAD, tmp_path) == "rejected\nhost thinkpad/fan1 2900.0\n"


def test_the_test_in_the_guide_passes(
    tmp_path: Path, collector_imports: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "plugins" / "fan_speed"
    folder.mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert OWN_TEST
    names: dict[str, Any] = {}
    exec(OWN_TEST[1], names)
    (test,) = (value for name, value in names.items() if name.startswith("test_"))
    test(None, monkeypatch)


def _python(code: str, folder: Path) -> str:
    path = {"PYTHONPATH": f"{folder}:{PROJECT}", "PATH": ""}
    run = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=folder, env=path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_example_of_strings_works(tmp_path: Path) -> None:
    assert set(RAID_STATE) == {"main.py", "server.py"}
    folder = tmp_path / "plugins" / "raid_state"
    folder.mkdir(parents=True)
    manifest = 'NAME, VERSION, AUTHOR, TOPIC = "Raid_State", "1.0.0", "me", "telemetry"\n'
    (folder / "manifest.py").write_text(manifest)
    (folder / "__init__.py").write_text(FILES["__init__.py"])
    for name, text in RAID_STATE.items():
        (folder / name).write_text(text)
    payload = _python(
        "from plugins.raid_state import get_payload; print(type(get_payload()).__name__)", tmp_path
    )
    assert payload == "dict\n"
    assert annotation_faults(RAID_STATE["main.py"]) == []
    tried = subprocess.run(
        [sys.executable, "-m", "faust", "-A", "sparkle_app", "try-plugin", "Raid_State", "md0=clean", "md1=odd"],
        cwd=tmp_path, env={"PYTHONPATH": str(PROJECT), "PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert tried.returncode == 1, tried.stderr
    shown = re.search(r"try-plugin Raid_State md0=clean md1=odd\n(.*?)```", GUIDE, re.DOTALL)
    assert shown
    assert tried.stdout.splitlines()[1:] == shown[1].splitlines()[1:]


def test_the_panel_of_the_guide_is_valid_and_has_every_item() -> None:
    declared = re.search(r"```python\nPANEL = (.*?)\n```", GUIDE, re.DOTALL)
    assert declared
    items = ast.literal_eval(declared[1])
    assert parse_panel(items).thresholds[1].value == 200
    assert set(items) == set(Panel.__struct_fields__)
    described = GUIDE[declared.end() :].partition("\n## ")[0]
    assert set(re.findall(r"(?m)^\| `(\w+)` \|", described)) == set(items)
