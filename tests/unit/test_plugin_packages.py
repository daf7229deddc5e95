"""Packages for the earlier handler in other styles, and copied packages: they load and store, or are explained."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import run_program
from tests.support.worker import PROJECT

# In a process of its own: an imported package, and its tables, stay.
STORE = """
import json, sys
from datetime import datetime
from pathlib import Path
from sqlalchemy.engine import make_url
from sparkle_app.model.reading import Reading
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.migrations.migration import create_tables

plugins = load_plugins(Path(sys.argv[1]))
engine = make_engine(make_url("sqlite:///" + sys.argv[2]))
create_tables(engine, [])
with engine.begin() as connection:
    for number, (name, plugin) in enumerate(plugins.by_name.items()):
        for config in (7, 8):
            row = Reading(bytes([number, config]) * 8, config, "host", name, "gpu/fan", 1.5, 0, 0, True, "t", 0, config,
                          datetime(2026, 1, 1))
            plugin.store_readings(connection, [row])
with engine.connect() as connection:
    names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").scalars().all()
    rows = {
        name: [dict(row) for row in connection.exec_driver_sql(f'SELECT * FROM "{name}"').mappings()]
        for name in names
    }
print(json.dumps({"installed": list(plugins.installed), "errors": list(map(str, plugins.errors)), "rows": rows},
                 default=str))
"""
INIT = """
import os
NAME = "{name}"
VERSION = 1.0
AUTHOR = "somebody"
if os.environ.get("SPARKLE_M_SERVER"):
    from . import server
    from .server import {exported}
"""
MODEL = """
class DataFrame(sparkleM_core.SqlAlchemyBase, sparkleM_core.BaseDataFrame):
    __tablename__ = "fans"
    value = Column(Float)
"""
COLUMNS = "date=dt, hostname=hostname, metric_root=key, metric_main=key, value=value"
SERVERS = {
    "annotation": f"""
import sparkleM_core
from sqlalchemy import Column, Float
{MODEL}
def add_dataframe(dt, hostname: str, key, value, session: sparkleM_core.Session, config_id: int):
    session.add(DataFrame(config_id=config_id, {COLUMNS}))
""",
    "create_session": f"""
import sparkleM_core
from sparkleM_core import create_session
from sqlalchemy import Column, Float
{MODEL}
def add_dataframe(dt, hostname, key, value, session=None, config_id=-1):
    with create_session() as own:
        own.add(DataFrame(config_id=config_id, {COLUMNS}))
        own.commit()
""",
    "no session, default config_id": f"""
import sparkleM_core
from sqlalchemy import Column, Float
{MODEL}
def add_dataframe(dt, hostname, key, value):
    session = sparkleM_core.create_session()
    session.add(DataFrame({COLUMNS}))
    session.commit()
    session.close()
""",
    "default config_id": f"""
import sparkleM_core
from sqlalchemy import Column, Float
{MODEL}
def add_dataframe(dt, hostname, key, value, session, **options):
    session.add(DataFrame({COLUMNS}))
""",
}


def store(folder: Path) -> dict[str, Any]:
    """Load the packages of a folder, store two readings with each, and return what happened."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SPARKLE_")}
    command = [sys.executable, "-c", STORE, str(folder), str(folder / "x.sqlite3")]
    done = run_program(command, environment, PROJECT)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def package(folder: Path, name: str, server: str, exported: str = "DataFrame") -> None:
    folder.mkdir()
    (folder / "__init__.py").write_text(INIT.format(name=name, exported=exported), "utf-8")
    (folder / "server.py").write_text(server, "utf-8")


@pytest.mark.parametrize("name", ["Fans", "Вентиляторы зала"])
@pytest.mark.parametrize("style", SERVERS)
def test_earlier_packages_load_and_store_as_they_are(tmp_path: Path, style: str, name: str) -> None:
    package(tmp_path / "fans", name, SERVERS[style])
    found = store(tmp_path)
    assert (found["installed"], found["errors"]) == ([name], [])
    assert [(row["config_id"], row["hostname"], row["value"]) for row in found["rows"]["fans"]] == [
        (7, "host", 1.5),
        (8, "host", 1.5),
    ]


@pytest.mark.parametrize(
    ("folder", "name"), [("aaa", "AAA"), ("temp", "Temp"), ("temperature_2", "Temperature2"), ("zzz", "Zzz")]
)
def test_of_a_plugin_and_its_copy_only_the_copy_is_refused(tmp_path: Path, folder: str, name: str) -> None:
    shutil.copytree(PROJECT / "plugins" / "temperature", tmp_path / "temperature")
    shutil.copytree(PROJECT / "plugins" / "temperature", tmp_path / folder)
    manifest = tmp_path / folder / "manifest.py"
    manifest.write_text(manifest.read_text("utf-8").replace('"Temperature"', f'"{name}"'), "utf-8")
    found = store(tmp_path)
    assert found["installed"] == ["Temperature"]
    (error,) = found["errors"]
    assert error.startswith(
        f"plugin {name} ({tmp_path}/{folder}): expected a __tablename__ that no other plugin has"
    )
    assert f"which plugin Temperature ({tmp_path}/temperature) has; rename the tables of this plugin" in error
    assert len(found["rows"]["temperature_readings"]) == 2


PLUGIN = """
from sqlalchemy import Computed, Integer, String
from sqlalchemy.orm import Mapped, mapped_column
from sparkle_app.plugin_api import AggregatesTable, Plugin, ReadingsTable

class Readings(ReadingsTable):
    __tablename__ = "faulty_readings"

class Sums(AggregatesTable):
    __tablename__ = "faulty_aggregates"

class Required(ReadingsTable):
    __tablename__ = "faulty_required_readings"
    maker: Mapped[str] = mapped_column(String(20))

class RequiredSums(AggregatesTable):
    __tablename__ = "faulty_required_aggregates"
    maker = mapped_column(String(20), nullable=False)

class Optional(ReadingsTable):
    __tablename__ = "faulty_optional_readings"
    maker: Mapped[str | None] = mapped_column(String(20))
    given: Mapped[str] = mapped_column(String(20), server_default="x")
    preset: Mapped[str] = mapped_column(String(20), default="x")
    double: Mapped[int] = mapped_column(Integer, Computed("config"))
    config: Mapped[int] = mapped_column(Integer, server_default="1")

class Faulty(Plugin):
    {body}

plugin = Faulty()
"""
OWN = """
    def store_readings(self, connection, readings):
        return [each.as_stored() for each in readings]

    def load_readings(self, connection, hostnames, start, end, limit=None):
        return []
"""


@pytest.mark.parametrize(
    ("body", "expected", "found"),
    [
        ("Aggregates = Sums", "expected `DataFrame`, a subclass of ReadingsTable", "found none"),
        ("DataFrame, Aggregates = 1, Sums", "expected `DataFrame`, a subclass of ReadingsTable", "found 1;"),
        ("DataFrame = Aggregates = Sums", "expected `DataFrame`, a subclass of ReadingsTable", "Sums"),
        ("DataFrame, Aggregates = ReadingsTable, Sums", "with a __tablename__", "ReadingsTable"),
        ("DataFrame = Readings", "expected `Aggregates`, a subclass of AggregatesTable", "found none"),
        (
            "DataFrame, Aggregates = Required, Sums",
            "columns of faulty_required_readings with a default, or that may be NULL",
            "found maker, which is NOT NULL;",
        ),
        (
            "DataFrame, Aggregates = Readings, RequiredSums",
            "columns of faulty_required_aggregates with a default, or that may be NULL",
            "found maker, which is NOT NULL;",
        ),
        (
            "DataFrame, Aggregates, minimum, maximum = Readings, Sums, 9, 1",
            "`minimum` to be at most `maximum`",
            "found 9 and 1;",
        ),
        (
            "DataFrame, Aggregates, minimum = Readings, Sums, float('nan')",
            "`minimum` to be at most `maximum`",
            "found nan and inf;",
        ),
        ("DataFrame, Aggregates, minimum = Readings, Sums, None", "`minimum` to be a number", "found None;"),
        ("DataFrame, Aggregates, maximum = Readings, Sums, '9'", "`maximum` to be a number", "found '9';"),
        ("DataFrame, Aggregates, unit = Readings, Sums, []", "`unit` to be a text", "found [];"),
        ("DataFrame, Aggregates, unit = Readings, Sums, None", "`unit` to be a text", "found None;"),
        (
            "DataFrame, Aggregates, unit = Readings, Sums, '\\ud800'",
            "`unit` to be a text",
            r"found '\ud800';",
        ),
        (
            "DataFrame, Aggregates, minimum = Readings, Sums, property(lambda self: 1 / 0)",
            "expected a plugin as described in docs/plugins.md",
            "found ZeroDivisionError: division by zero;",
        ),
    ],
)
def test_a_faulty_plugin_is_explained_and_the_others_are_used(
    tmp_path: Path, body: str, expected: str, found: str
) -> None:
    shutil.copytree(PROJECT / "plugins" / "temperature", tmp_path / "temperature")
    package(tmp_path / "faulty", "Faulty", PLUGIN.format(body=body), "plugin")
    stored = store(tmp_path)
    assert stored["installed"] == ["Temperature"]
    (error,) = stored["errors"]
    assert error.startswith(f"plugin Faulty ({tmp_path}/faulty): expected ")
    assert expected in error
    assert found in error
    assert len(stored["rows"]["temperature_readings"]) == 2


@pytest.mark.parametrize("models", ["Aggregates = Sums", "DataFrame, Aggregates = Required, Sums"])
def test_a_plugin_with_its_own_methods_needs_no_table_for_them(tmp_path: Path, models: str) -> None:
    package(tmp_path / "faulty", "Own", PLUGIN.format(body=f"{models}\n{OWN}"), "plugin")
    found = store(tmp_path)
    assert (found["installed"], found["errors"]) == (["Own"], [])


def test_a_plugin_may_have_columns_with_defaults(tmp_path: Path) -> None:
    package(
        tmp_path / "faulty", "Own", PLUGIN.format(body="DataFrame, Aggregates = Optional, Sums"), "plugin"
    )
    found = store(tmp_path)
    assert (found["installed"], found["errors"]) == (["Own"], [])
    row, _ = found["rows"]["faulty_optional_readings"]
    assert [row[name] for name in ("maker", "given", "preset", "double")] == [None, "x", "x", 1]


def test_a_package_leaves_the_tables_of_a_plugin_alone(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "plugins" / "temperature", tmp_path / "temperature")
    server = tmp_path / "temperature" / "server.py"
    server.write_text(server.read_text("utf-8").replace('"temperature_', '"warm_'), "utf-8")
    package(tmp_path / "warm", "Warm", SERVERS["annotation"])
    found = store(tmp_path)
    assert found["errors"] == []
    assert found["installed"] == ["Temperature", "Warm"]
    rows = found["rows"]
    assert [len(rows[name]) for name in ("warm_readings", "warm_handler_readings", "fans")] == [2, 2, 2]
