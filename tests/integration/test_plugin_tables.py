"""What a plugin may declare besides columns: enumerations, checks, indexes, and foreign keys from tables of its own."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import inspect
from sqlalchemy.engine import make_url

from sparkle_app.storage.engine import make_engine
from tests.support.database import EVERY_DATABASE, query
from tests.support.worker import PROJECT, Workspace, run_command

MANIFEST = 'NAME, VERSION, AUTHOR, TOPIC = "Level", "1.0", "me", "levels"\n'
INIT = "from .manifest import AUTHOR, NAME, TOPIC, VERSION\nfrom .server import plugin\n"
SERVER = """
import enum
from sqlalchemy import CheckConstraint, Enum, ForeignKey, Index, Integer, String, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column
from sparkle_app.plugin_api import AggregatesTable, Base, Plugin, ReadingsTable, data_table

class Kind(enum.Enum):
    LOW = "low"
    HIGH = "high"

class Readings(ReadingsTable):
    __tablename__ = "level_readings"
    kind: Mapped[Kind | None] = mapped_column(Enum(Kind, name="level_kind"))
    sure: Mapped[str | None] = mapped_column(
        Enum("yes", "no", native_enum=False, create_constraint=True, name="level_sure", length=10)
    )
    {arguments}

class Aggregates(AggregatesTable):
    __tablename__ = "level_aggregates"

class Notes(Base):
    __tablename__ = "level_notes"
    id = mapped_column(Integer, primary_key=True, autoincrement=False)
    reading_id = mapped_column(ForeignKey("{referred}.id"))

class Level(Plugin):
    DataFrame, Aggregates = Readings, Aggregates

    def on_inserted(self, connection, readings):
        data = data_table(Readings.__table__)
        for each in readings:
            kind = Kind.HIGH if each.value > 1 else Kind.LOW
            connection.execute(data.update().where(data.c.id == each.id).values(kind=kind, sure="yes"))
            connection.execute(Notes.__table__.insert(), [{{"id": each.offset, "reading_id": each.id}}])

plugin = Level()
"""
STORE = """
import json, sys
from pathlib import Path
from sqlalchemy import Column, MetaData, Table, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sparkle_app.model.reading import Reading
from sparkle_app.model.time import moment
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.errors import is_row_error
from sparkle_app.storage.migrations.migration import create_tables, migrate
from sparkle_app.storage.data_tables import data_table

plugins = load_plugins(Path(sys.argv[1]), make_url(sys.argv[2]))
plugin = plugins.by_name["Level"]
engine = make_engine(make_url(sys.argv[2]))
if "wide" in sys.argv:
    view = plugin.DataFrame.__table__
    columns = [Column(each.name, each.type, primary_key=each.primary_key, nullable=each.nullable) for each in view.c]
    wide = Table(view.name, MetaData(), *columns)
    wide.create(engine)
    low = wide.c.kind.type.python_type.LOW
    row = {"config_id": 1, "hostname": "host", "metric": "k", "value": 1.0, "kind": low, "sure": "no",
           "observed_at": moment(10**15), "received_at": moment(10**15), "clock_trusted": True, "topic": "t",
           "partition": 0, "offset": 1}
    with engine.begin() as connection:
        connection.execute(wide.insert(), [{**row, "id": bytes([1]) * 16}, {**row, "id": bytes([2]) * 16}])
migrate(engine, plugins.branches, plugins.errors, lambda _: None, plugins.readings)
create_tables(engine, plugins.branches)
rows = [Reading(bytes([n]) * 16, 1, "host", "Level", "k", float(n), 10**15, 10**15, True, "t", 0, n) for n in (1, 2)]
for _ in range(2):
    with engine.begin() as connection:
        plugin.store_readings(connection, rows)
readings = plugin.DataFrame.__table__
data = data_table(readings)
try:
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {data.name} SET sure = 'perhaps'")
    refused = False
except DBAPIError as error:
    refused = True
with engine.connect() as connection:
    kinds = [row.kind.value for row in connection.execute(select(readings.c.kind).order_by(readings.c.value))]
print(json.dumps({"kinds": kinds, "refused": refused, "warnings": plugins.warnings}))
"""


def write_plugin(workspace: Workspace, arguments: str = "", referred: str = "level_readings_data") -> None:
    folder = workspace.plugins / "level"
    folder.mkdir(exist_ok=True)
    server = SERVER.format(arguments=arguments, referred=referred)
    for name, text in {"__init__": INIT, "manifest": MANIFEST, "server": server}.items():
        (folder / f"{name}.py").write_text(text)


def store(workspace: Workspace, url: str, *options: str) -> dict[str, Any]:
    """Create or migrate the tables, and store two readings.

    Arguments:
        options: ``wide``: the readings are in a table of an earlier version.
    """
    done = run_store(workspace, url, *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run_store(workspace: Workspace, url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STORE, str(workspace.plugins), url, *options],
        capture_output=True, text=True, check=False, cwd=PROJECT, timeout=60,
        env={key: value for key, value in os.environ.items() if not key.startswith("SPARKLE_")},
    )  # fmt: skip


@EVERY_DATABASE
def test_enumerations_checks_and_foreign_keys_work(workspace: Workspace, database_url: str) -> None:
    write_plugin(workspace)
    assert store(workspace, database_url) == {"kinds": ["low", "high"], "refused": True, "warnings": []}
    assert len(query(database_url, "SELECT * FROM level_notes")) == 2


@EVERY_DATABASE
def test_enumerations_and_checks_are_migrated(workspace: Workspace, database_url: str) -> None:
    write_plugin(workspace)
    found = store(workspace, database_url, "wide")
    assert found == {"kinds": ["low", "low"], "refused": True, "warnings": []}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_names_columns_of_the_view_is_left_out_with_a_warning(
    workspace: Workspace, database_url: str
) -> None:
    write_plugin(
        workspace,
        '__table_args__ = (Index("ix_level", "hostname", "kind"), UniqueConstraint("metric", "sure", name="uq_level"),'
        ' Index("ix_kind", "kind"), CheckConstraint("hostname <> sure", name="ck_level"),'
        ' CheckConstraint("observed_at > received_at", name="ck_time"), Index("ix_text", text("lower(hostname)")))',
    )
    check, time, index, lower, constraint = sorted(store(workspace, database_url)["warnings"])
    assert "not created: check constraint ck_level of level_readings, which names hostname: rows" in check
    assert "check constraint ck_time of level_readings, which names observed_at and received_at: rows" in time
    assert "index ix_text of level_readings, which names hostname: rows" in lower
    assert "not created: index ix_level of level_readings, which names hostname: rows are stored in" in index
    assert "unique constraint uq_level of level_readings, which names metric: rows" in constraint
    environment = workspace.environment("127.0.0.1:1", database_url)
    assert f"plugin: warning: {index}" in run_command(environment, "check").stdout


@EVERY_DATABASE
def test_a_foreign_key_to_a_view_is_one_line(workspace: Workspace, database_url: str) -> None:
    write_plugin(workspace, referred="level_readings")
    environment = workspace.environment("127.0.0.1:1", database_url)
    done = run_command(environment, "migrate")
    assert done.returncode == 0, done.stderr
    checked = run_command(environment, "check").stdout
    assert "ERROR plugin: plugin Level (" in checked
    hint = 'write ForeignKey("level_readings_data.id")'
    assert f"found level_notes.reading_id -> level_readings.id, a view; {hint}" in checked


@EVERY_DATABASE
def test_constraints_of_columns_that_are_stored_are_created(workspace: Workspace, database_url: str) -> None:
    write_plugin(
        workspace,
        'source = mapped_column(ForeignKey("sparkle_sources.id", name="fk_source"))\n'
        '    __table_args__ = (CheckConstraint("value < 9", name="ck_value"),'
        ' UniqueConstraint("source", name="uq_source"))',
    )
    assert store(workspace, database_url)["warnings"] == []
    engine = make_engine(make_url(database_url))
    found, table = inspect(engine), "level_readings_data"
    (key,) = found.get_foreign_keys(table)
    assert (key["name"], key["constrained_columns"], key["referred_table"]) == (
        "fk_source",
        ["source"],
        "sparkle_sources",
    )
    assert "ck_value" in {each["name"] for each in found.get_check_constraints(table)}
    assert "uq_source" in {each["name"] for each in found.get_unique_constraints(table)}
    engine.dispose()


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_an_index_keeps_its_condition_and_its_expressions(workspace: Workspace, database_url: str) -> None:
    # Both readings have the same text; only one is LOW.
    write_plugin(
        workspace,
        '__table_args__ = (Index("uq_low", "sure", unique=True, sqlite_where=text("kind = \'LOW\'"),'
        ' postgresql_where=kind.column == Kind.LOW), Index("ix_lower", func.lower(sure.column)))',
    )
    assert store(workspace, database_url)["kinds"] == ["low", "high"]
    names = {
        "sqlite": "SELECT name FROM sqlite_master",
        "postgresql": "SELECT indexname AS name FROM pg_indexes",
    }
    found = query(database_url, names[make_url(database_url).get_backend_name()])
    assert {"uq_low", "ix_lower"} <= {row["name"] for row in found}


MAKER = "maker = mapped_column({}String(20), nullable={}, default={})"


@EVERY_DATABASE
@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("", MAKER.format("", True, None), "no maker"),
        (MAKER.format("", False, '"x"'), "", "also maker, which must not be NULL and has no default"),
    ],
)
def test_a_changed_column_without_a_revision_is_one_line(
    workspace: Workspace, database_url: str, before: str, after: str, found: str
) -> None:
    write_plugin(workspace, before)
    store(workspace, database_url)
    write_plugin(workspace, after)
    line = (
        f"table level_readings_data: expected the columns that its model declares, found {found}; alter the table,"
        " or ship a revision of the plugin: docs/plugins.md#changing-the-tables"
    )
    started = run_store(workspace, database_url)
    assert started.returncode == 1
    assert started.stderr.endswith(f"ConfigurationError: {line}\n")
    checked = run_command(workspace.environment("127.0.0.1:1", database_url), "check").stdout
    assert f"ERROR database: {line}" in checked


@EVERY_DATABASE
def test_a_column_that_may_be_left_out_needs_no_revision(workspace: Workspace, database_url: str) -> None:
    # Databases differ in whether they tell upper and lower case apart.
    write_plugin(workspace, MAKER.format('"Maker", ', True, None))
    for _ in range(2):
        store(workspace, database_url)
    write_plugin(workspace)
    store(workspace, database_url)
