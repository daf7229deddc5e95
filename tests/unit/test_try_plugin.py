"""try-plugin: the collecting half runs as on a host, and each value is shown with what becomes of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.collecting_half import collect
from sparkle_app.plugin.discovery import SERVER_FLAG
from tests.support.processes import run_program
from tests.support.worker import PROJECT


def package(folder: Path, source: str) -> Path:
    path = folder / "plugins" / "probe"
    path.mkdir(parents=True)
    (path / "__init__.py").write_text(source)
    return path


def test_the_result_of_the_collecting_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SERVER_FLAG, "1")
    source = (
        "import atexit, os\n"
        "print('noise'); atexit.register(print, 'more noise')\n"
        f"def get_payload(): return {{'a': 1.5, 'server': {SERVER_FLAG!r} in os.environ}}"
    )
    assert collect(package(tmp_path, source), SERVER_FLAG) == {"a": 1.5, "server": False}


@pytest.mark.parametrize("name", ["sparkle_app", "faust", "sqlalchemy"])
def test_it_cannot_import_what_a_host_does_not_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"ModuleNotFoundError: .*{name}"):
        collect(package(tmp_path, f"import {name}\ndef get_payload(): return {{}}"), SERVER_FLAG)


@pytest.mark.parametrize(
    ("result", "found"),
    [
        ("[1]", "expected get_payload() to return a dict, found list"),
        ("None", "expected get_payload() to return a dict, found NoneType"),
        ("{0: 45.0}", "expected keys that are str, found 0"),
        ("{'a': float('nan')}", "ValueError: Out of range float values are not JSON compliant"),
        ("{'a': b'x'}", "TypeError: Object of type bytes is not JSON serializable"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("__import__('os')._exit(0)", "exit code 0"),
    ],
)
def test_what_would_end_a_collector_is_an_error(tmp_path: Path, result: str, found: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        collect(package(tmp_path, f"def get_payload(): return {result}"), SERVER_FLAG)
    assert found in str(caught.value.found)


def test_the_whole_text_of_an_exception_is_shown_with_its_notes(tmp_path: Path) -> None:
    source = (
        "def get_payload():\n"
        "    error = OSError('no sensor:\\n  driver missing')\n"
        "    error.add_note('while core 1 was read')\n"
        "    raise error\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        collect(package(tmp_path, source), SERVER_FLAG)
    assert caught.value.found == "OSError: no sensor: driver missing, while core 1 was read"


def test_an_exception_without_a_text_is_shown_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        collect(
            package(tmp_path, "def get_payload(): raise NoSensorError\nclass NoSensorError(Exception): pass"),
            SERVER_FLAG,
        )
    assert caught.value.found == "NoSensorError"


def test_a_package_without_a_collecting_half_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        collect(package(tmp_path, "from .main import get_payload"), SERVER_FLAG)
    assert str(caught.value) == (
        f"{tmp_path}/plugins/probe (collecting half): expected main.py, found none; pass values: KEY=VALUE"
    )


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPARKLE_")}
    environment |= settings
    command = [sys.executable, "-m", "faust", "-A", "sparkle_app", "try-plugin", *arguments]
    return run_program(command, environment, PROJECT)


def test_each_value_is_shown_with_what_becomes_of_it() -> None:
    done = run("temperature", "core=41.5", "hot=300", "=20", "text=abc", f"{'k' * 200}=20", "--json")
    assert done.returncode == 1, done.stderr
    found = {each["key"]: each for each in json.loads(done.stdout)}
    assert (found["core"]["stored"], found["core"]["numeric_value"], found["core"]["error"]) == (
        41.5,
        41.5,
        None,
    )
    errors = [found[key]["error"] for key in ("hot", "", "text", "k" * 200)]
    assert errors == [
        "becomes a dead letter (invalid_value): expected -100 to 250 °C",
        "becomes a dead letter (bad_payload): expected 1 to 255 bytes of UTF-8, found 0",
        "becomes a dead letter (invalid_value): expected a number, found a string",
        "expected at most 214 bytes of JSON, found 249: the collector cannot send it",
    ]


def test_values_that_cannot_be_encoded_or_parsed_are_shown() -> None:
    done = run("temperature", 'c="\\ud800"', f"nested={'[' * 20_000}", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    lone, nested = json.loads(done.stdout)
    assert lone["value"] == "\ud800"
    assert lone["error"] == "becomes a dead letter (invalid_value): expected a number, found a string"
    assert nested["error"].startswith("expected at most 214 bytes of JSON, found 20")


def test_an_unknown_plugin_is_a_usage_error() -> None:
    done = run("Nope")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("PLUGIN: expected one of PU_Workload, Temperature, found Nope; ")


def test_values_need_a_key() -> None:
    done = run("Temperature", "20")
    assert (done.returncode, done.stderr) == (
        2,
        "VALUES: expected KEY=VALUE, found 20; for example fan1=1200\n",
    )


INET = """
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import mapped_column
from sparkle_app.plugin_api import AggregatesTable, Plugin, ReadingsTable

class DataFrame(ReadingsTable):
    __tablename__ = "probe_readings"
    details = mapped_column(INET, nullable=True)

class Aggregates(AggregatesTable):
    __tablename__ = "probe_aggregates"

class Probe(Plugin):
    DataFrame, Aggregates = DataFrame, Aggregates

NAME, VERSION, AUTHOR = "Probe", "1", "me"
plugin = Probe()
"""


def test_a_table_that_sqlite_cannot_create_is_one_line_and_concerns_only_its_plugin(tmp_path: Path) -> None:
    folder = package(tmp_path, INET).parent
    (folder / "probe" / "manifest.py").write_text('NAME, VERSION, AUTHOR = "Probe", "1", "me"')
    (folder / "temperature").symlink_to(PROJECT / "plugins" / "temperature")
    settings = {
        "SPARKLE_PLUGINS": str(folder),
        "SPARKLE_DATABASE__URL": "postgresql://localhost:1/nowhere",
    }
    done = run("Temperature", "core=41.5", **settings)
    assert (done.returncode, done.stderr) == (0, "")
    done = run("Probe", "core=41.5", **settings)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"plugin Probe ({folder}/probe): expected tables that can be created in sqlite"
    )
    assert "INET" in done.stderr
    assert done.stderr.count("\n") == 1
