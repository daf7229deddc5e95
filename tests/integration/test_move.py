"""The command `move`: everything is in the other database, once, also after it was killed; no worker runs."""

import json
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from sparkle_app.model.reading import Reading
from sparkle_app.model.retention import READINGS, Watermark
from sparkle_app.model.time import span
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.storage.engine import make_engine, read_transaction
from sparkle_app.storage.names import create_series, create_sources
from sparkle_app.storage.retention import advance, begin, watermarks
from tests.support.database import Rows, count, query
from tests.support.earlier_packages import install
from tests.support.eventually import eventually
from tests.support.package_rows import PackageReading, store_through_packages
from tests.support.processes import Process, free_port
from tests.support.worker import PROJECT, Workspace, command_process, faust, run_command

NOWHERE = "127.0.0.1:1"
"""The broker's address: the command does not connect to it."""
NOON = 1_795_435_200
HOSTS = [f"host-{n:02}" for n in range(12)]
TABLES = (
    "temperature_readings",
    "temperature_aggregates",
    "fans",
    "fans_readings",
    "fans_aggregates",
    "disks_readings",
    "disks_handler_readings",
    "doors",
    "doors_readings",
    "gauges",
    "gauges_readings",
    "sparkle_hosts",
)
GAUGES = """
import os
NAME = "Gauges"
VERSION = "1"
AUTHOR = "a fifth"
TOPIC = "{topic}"
if os.environ.get("SPARKLE_M_SERVER"):
    from . import server
    from .server import DataFrame
"""
GAUGES_SERVER = """
import sparkleM_core
from sqlalchemy import Column, Float, ForeignKey, Integer, String

class Kind(sparkleM_core.SqlAlchemyBase):
    __tablename__ = "gauge_kinds"
    name = Column(String(40), primary_key=True)
    part = Column(Integer, primary_key=True, autoincrement=False)

class DataFrame(sparkleM_core.SqlAlchemyBase):
    __tablename__ = "gauges"
    number = Column(Integer, primary_key=True)
    level = Column(Float)
    kind = Column(String(40))
    part = Column(Integer)

def add_dataframe(dt, hostname, key, value, session=None):
    session.merge(Kind(name=hostname, part=int(value) % 3))
    session.add(DataFrame(level=value, kind=hostname, part=int(value) % 3))
"""
"""With numbers that the database generates, and a key of two columns."""


@pytest.fixture
def packages(workspace: Workspace) -> Workspace:
    """With packages for the earlier handler."""
    install(workspace.plugins, workspace.topic)
    folder = workspace.plugins / "gauges"
    folder.mkdir()
    (folder / "__init__.py").write_text(GAUGES.replace("{topic}", workspace.topic))
    (folder / "server.py").write_text(GAUGES_SERVER)
    return workspace


@pytest.fixture
def source(tmp_path: Path) -> str:
    """The URL of an SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'source.sqlite3'}"


def everything(minutes: int = 2) -> list[PackageReading]:
    readings: list[PackageReading] = [
        ("Temperature", host, f"core/{n % 8}", 20 + n % 50 / 4, NOON + 60 * minute + n % 60)
        for host in HOSTS
        for minute in range(minutes)
        for n in range(500)
    ]
    readings += [("Fans", f"fan-{n % 3}", f"gpu{n}/fan/left", 1000 + n, NOON + n) for n in range(40)]
    readings += [("Disks", "nas", f"sd{n}", state, NOON) for n, state in enumerate(["healthy", None, [1], 7])]
    readings += [("Doors", "gate", f"door-{n}", n, NOON) for n in range(9)]
    readings += [("Gauges", f"tank-{n % 4}", "level", n, NOON + n) for n in range(30)]
    return readings


def rows(url: str, table: str) -> Rows:
    """All rows; ids and times as text, in which databases differ."""
    found = query(url, f"SELECT * FROM {table}")
    return sorted([{name: plain(value) for name, value in row.items()} for row in found], key=str)


def plain(value: Any) -> Any:
    if isinstance(value, str):
        # Drivers of some databases return JSON as it is stored.
        with suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ", "microseconds")
    if isinstance(value, bool | float | int):
        return value + 0
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str) and value[4:5] == "-" and value[10:11] == " ":
        return f"{value}.000000"[:26]
    return str(value).replace("-", "") if len(str(value)) == 36 else value


def assert_same(source: str, target: str, tables: Sequence[str] = TABLES) -> None:
    for table in tables:
        expected = rows(source, table)
        assert expected, table
        assert rows(target, table) == expected, table


def move(environment: dict[str, str], target: str, *options: str, code: int = 0) -> str:
    done = run_command(environment, "move", "--to", target, *options, seconds=120)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code == 2 or not done.stdout else done.stdout


def fill(url: str, workspace: Workspace, readings: list[PackageReading]) -> dict[str, str]:
    """Store readings and aggregate them; returns the environment of a command."""
    environment = workspace.environment(NOWHERE, url)
    store_through_packages(url, workspace, readings)
    done = run_command(environment, "rebuild")
    assert done.returncode == 0, done.stdout + done.stderr
    return environment


@contextmanager
def held(source: str, target: str, hostname: str) -> Iterator[None]:
    """A transaction that has inserted a reading of a host into the target, and is rolled back at the end."""
    plugin = load_plugins(PROJECT / "plugins").installed["Temperature"].plugin
    with read_transaction(make_engine(make_url(source))) as connection:
        stored = list(plugin.load_readings(connection, [hostname], 0, 2 * NOON * 1_000_000))[-1]
    fields = {name: getattr(stored, name) for name in stored.__struct_fields__}
    engine = make_engine(make_url(target))
    limits = {
        "postgresql": "LOCAL idle_in_transaction_session_timeout = '600s'",
        "mysql": "SESSION idle_transaction_timeout = 600",
    }
    # The names that other hosts' readings share must not be held.
    with engine.begin() as connection:
        create_series(connection, {(stored.hostname, stored.key)}, READINGS)
        create_sources(connection, {(stored.config_id, stored.topic, stored.partition, stored.clock_trusted)})
    with engine.connect() as connection, connection.begin() as transaction:
        connection.exec_driver_sql(f"SET {limits[engine.name]}")
        plugin.store_readings(connection, [Reading(plugin="Temperature", **fields)])
        yield
        transaction.rollback()
    engine.dispose()


def started(environment: dict[str, str], target: str, folder: Path, *options: str) -> Process:
    """A process that moves to the target, and has moved some readings, but not all."""
    process = command_process(environment, folder / "move.log", "move", "--to", target, *options)
    process.start()
    eventually(lambda: count(target, "temperature_readings"), lambda found: found > 0)
    return process


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_a_killed_move_continues_and_everything_is_moved_once(
    packages: Workspace, source: str, database_url: str, tmp_path: Path
) -> None:
    environment = fill(source, packages, everything())
    of_target = packages.environment(NOWHERE, database_url)
    assert run_command(of_target, "migrate").returncode == 0
    with held(source, database_url, HOSTS[-1]):
        process = started(environment, database_url, tmp_path)
        process.kill()
    some = count(database_url, "temperature_readings")
    assert 0 < some < 12_000
    report = json.loads(move(environment, database_url, "--json"))
    assert report["complete"] is True
    parts = {(each["name"], each["what"]): each for each in report["parts"]}
    moved = parts["Temperature", "readings"]
    assert (moved["read"], moved["known"]) == (12_000, some)
    numbers = {"read": 30, "new": 30, "known": 0, "expired": 0}
    assert parts["gauges", "rows"] == {"name": "gauges", "what": "rows", **numbers}
    assert_same(source, database_url)
    verified = {each["plugin"]: each for each in report["verified"]}
    assert verified["Temperature"]["to"] == verified["Temperature"]["from"]
    assert verified["Temperature"]["to"]["readings"] == 12_000
    assert verified["Fans"]["to"] == {
        "readings": 40,
        "aggregates": 40,
        "differences": 0,
        "not_verifiable": 0,
    }
    assert run_command(of_target, "verify").returncode == 0
    # Numbers that the database generates continue.
    engine = make_engine(make_url(database_url))
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO gauges (level) VALUES (1.0)")
    engine.dispose()
    assert query(database_url, "SELECT max(number) AS n FROM gauges")[0]["n"] == 31
    # A package for the earlier handler stores what is new, and nothing that it has stored.
    store_through_packages(database_url, packages, [*everything(), ("Fans", "fan-9", "a/b", 1, NOON)])
    assert (count(database_url, "fans"), count(database_url, "gauges")) == (41, 31)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_readings_that_come_meanwhile_are_announced_and_taken_by_the_next_run(
    packages: Workspace, source: str, database_url: str, tmp_path: Path
) -> None:
    environment = fill(source, packages, everything())
    assert run_command(packages.environment(NOWHERE, database_url), "migrate").returncode == 0
    with held(source, database_url, HOSTS[-1]):
        process = started(environment, database_url, tmp_path)
        # Of a host that was read already: in a bucket that it has, in a new one, and a door that is opened again.
        late: list[PackageReading] = [
            ("Temperature", HOSTS[0], "core/0", 99.5, NOON + 7),
            ("Temperature", HOSTS[0], "core/0", 99.5, NOON + 3600),
            ("Doors", "gate", "again/door-3", 77, NOON + 5),
        ]
        fill(source, packages, late)
    assert process.wait(60) == 1
    expected = (
        "not complete: 1 reading of Doors, 2 readings of Temperature came meanwhile; stop the workers and run"
    )
    assert expected in process.log.read_text()
    text = move(environment, database_url)
    assert "Temperature: 12002 readings read, 2 new or changed, 12000 known\n" in text
    # A new row, and a larger count.
    assert "Temperature: 193 aggregates read, 2 new or changed, 191 known\n" in text
    assert text.count(" 0 differences in ") == 2 * 7
    assert text.endswith(
        f"complete, if no worker has run since this command was started: set SPARKLE_DATABASE__URL to {database_url},"
        " then start the workers\n"
    )
    assert_same(source, database_url)
    assert query(database_url, "SELECT opened FROM doors WHERE metric_main = 'door-3'") == [{"opened": 77}]
    again = move(environment, database_url)
    assert " 0 new or changed" in again
    assert again.count(" 0 new or changed") == again.count(" known\n")


def test_what_only_the_other_database_has_remains(workspace: Workspace, source: str, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path / 'target.sqlite3'}"
    environment = fill(source, workspace, [("Temperature", "a", "k", n, NOON + n) for n in range(70)])
    fill(target, workspace, [("Temperature", host, "k", n, NOON + 5 * n) for host in "ab" for n in range(70)])
    newer = "UPDATE sparkle_hosts SET last_received_at = '2100-01-01 00:00:00.000000' WHERE name = 'a'"
    with closing(sqlite3.connect(tmp_path / "target.sqlite3")) as connection:
        connection.execute(newer)
        connection.commit()
    # The buckets of host a have other readings there: fewer than counted here, until they are recomputed.
    assert "aggregates differ between the databases" in move(environment, target, code=1)
    assert count(target, "temperature_readings") == 70 + 140 - 1
    assert query(target, "SELECT count(*) AS n FROM sparkle_hosts WHERE last_received_at LIKE '2100%'") == [
        {"n": 1}
    ]


def test_aggregates_without_readings_and_of_every_bucket_size_are_moved(
    workspace: Workspace, source: str, tmp_path: Path
) -> None:
    target = f"sqlite:///{tmp_path / 'target.sqlite3'}"
    environment = fill(source, workspace, [("Temperature", "a", "k", n, NOON + n) for n in range(70)])
    hours = {**environment, "SPARKLE_AGGREGATES__BUCKET_SECONDS": "3600"}
    assert run_command(hours, "rebuild").returncode == 0
    assert count(source, "temperature_aggregates") == 3
    plugin = load_plugins(PROJECT / "plugins").installed["Temperature"].plugin
    engine = make_engine(make_url(source))
    with engine.begin() as connection:
        for row in list(plugin.load_aggregates(connection, ["a"], None, 60, 0, 2 * NOON * 1_000_000)):
            earlier = row.bucket_start - 86_400_000_000
            statistics = type(row.statistics)(4, 1.0, 0.25, 0.25, 0.25, earlier)
            plugin.store_aggregates(
                connection, [type(row)("old", row.metric, row.resolution, earlier, statistics)]
            )
    engine.dispose()
    text = move(environment, target)
    assert "2 differences in" in text
    assert "the differences are the same in both databases" in text
    assert_same(source, target, ["temperature_readings", "temperature_aggregates", "sparkle_hosts"])


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_what_either_database_does_not_keep_stays_deleted(
    workspace: Workspace, source: str, database_url: str
) -> None:
    day = NOON // 86_400
    environment = fill(
        source,
        workspace,
        [("Temperature", "a", "k", n, 86_400 * (day - n) + 60 * k) for n in range(5) for k in range(3)],
    )
    here, there = (make_engine(make_url(url)) for url in (source, database_url))
    # Hours and days of all but the last one have been merged here. The oldest day of readings is not kept, nor are two
    # of buckets, although not all rows have been deleted.
    for resolution in (3600, 86_400):
        until = span(86_400 * day)
        advance(here, "Temperature", resolution, merging_until=until, merged_until=until)
    assert run_command(environment, "rebuild").returncode == 0
    advance(here, "Temperature", 0, kept_since=span(86_400 * (day - 3)))
    advance(
        here, "Temperature", 60, kept_since=span(86_400 * (day - 2)), deleted_until=span(86_400 * (day - 3))
    )
    delete(source, "temperature_readings_data", "observed_at", 86_400 * (day - 3))
    # The other one has been used: it keeps less.
    assert run_command(workspace.environment(NOWHERE, database_url), "migrate").returncode == 0
    with there.begin() as connection:
        begin(connection, "Temperature", 60)
    advance(there, "Temperature", 0, kept_since=span(86_400 * (day - 1)))
    report = json.loads(move(environment, database_url, "--json"))
    assert report["complete"] is True
    parts = {
        (each["name"], each["what"]): each["expired"]
        for each in report["parts"]
        if each["what"] == "readings"
    }
    assert parts["Temperature", "readings"] == 6
    (verified,) = (each for each in report["verified"] if each["plugin"] == "Temperature")
    assert verified["from"] == verified["to"]
    assert verified["to"]["differences"] == 0
    assert verified["to"]["readings"] == 6
    assert verified["to"]["not_verifiable"] > 0
    with read_transaction(there) as connection:
        marks = watermarks(connection, "Temperature", 60)
    assert marks[0].kept_since == span(86_400 * (day - 1))
    assert marks[60] == Watermark(kept_since=span(86_400 * (day - 2)))
    assert marks[86_400].merged_until == span(86_400 * day)
    resolutions = "SELECT resolution, count(*) AS n FROM temperature_aggregates GROUP BY resolution"
    kept = {row["resolution"]: row["n"] for row in query(database_url, resolutions)}
    # Buckets of three days.
    assert kept == {60: 9, 3600: 4, 86_400: 4}
    for url in (source, database_url):
        done = run_command(workspace.environment(NOWHERE, url), "verify")
        assert done.returncode == 0, done.stdout + done.stderr
    here.dispose()
    there.dispose()


def delete(url: str, table: str, column: str, before: int) -> None:
    with closing(sqlite3.connect(str(make_url(url).database))) as connection:
        deleted = connection.execute(f"DELETE FROM {table} WHERE {column} < ?", (span(before),)).rowcount
        assert deleted > 0
        connection.commit()


def test_a_move_follows_what_rebuild_has_repaired(workspace: Workspace, source: str, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path / 'target.sqlite3'}"
    environment = fill(source, workspace, [("Temperature", "a", "k", n, NOON + n) for n in range(70)])
    assert "complete, if no worker" in move(environment, target)
    # Readings are deleted in both databases, and one of the aggregates has the right count and another sum.
    for name in ("source", "target"):
        with closing(sqlite3.connect(tmp_path / f"{name}.sqlite3")) as connection:
            connection.execute("DELETE FROM temperature_readings_data WHERE value >= 10 AND value < 30")
            connection.execute("UPDATE temperature_aggregates_data SET sum = sum + 1 WHERE count = 10")
            connection.commit()
    assert run_command(environment, "rebuild").returncode == 0
    text = move(environment, target)
    assert "Temperature: 2 aggregates read, 2 new or changed, 0 known\n" in text
    assert "complete, if no worker" in text
    assert_same(source, target, ["temperature_readings", "temperature_aggregates"])


NOTES = """
from sqlalchemy import JSON, Column, Integer, Table, Text
from sparkle_app.plugin_api import Base

keyed = Table("notes_keyed", Base.metadata, Column("id", Integer, primary_key=True), Column("note", JSON))
plain = Table("notes_plain", Base.metadata, Column("text", Text), Column("note", JSON))
"""


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql", "mariadb"], indirect=True)
def test_tables_without_keys_and_nulls_of_both_kinds_are_moved(
    workspace: Workspace, source: str, database_url: str, tmp_path: Path
) -> None:
    server = workspace.plugins / "temperature" / "server.py"
    server.write_text(server.read_text() + NOTES)
    environment = fill(source, workspace, [("Temperature", "a", "k", 1, NOON)])

    def change(*statements: str) -> None:
        with closing(sqlite3.connect(tmp_path / "source.sqlite3")) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def moved(table: str, columns: str) -> list[tuple[Any, ...]]:
        statement = f"SELECT {columns}, note IS NULL AS missing, note FROM {table}"
        found = [tuple(plain(value) for value in row.values()) for row in query(database_url, statement)]
        return sorted(found, key=str)

    change(
        "INSERT INTO notes_keyed VALUES (1, NULL), (2, 'null'), (3, '[1]')",
        "INSERT INTO notes_plain VALUES ('a', NULL), ('a', 'null'), ('b', '[1]'), ('b', '[1]')",
    )
    text = move(environment, database_url)
    assert "notes_keyed: 3 rows read, 3 new or changed, 0 known\n" in text
    assert "notes_plain: 4 rows read, 4 new or changed, 0 known\n" in text
    assert [row[:2] for row in moved("notes_keyed", "id")] == [(1, 1), (2, 0), (3, 0)]
    assert [row[:2] for row in moved("notes_plain", "text")] == [("a", 0), ("a", 1), ("b", 0), ("b", 0)]
    again = move(environment, database_url)
    assert "notes_keyed: 3 rows read, 0 new or changed, 3 known\n" in again
    assert "notes_plain: 4 rows read, 0 new or changed, 4 known\n" in again
    change(
        "UPDATE notes_keyed SET note = CASE id WHEN 1 THEN 'null' WHEN 2 THEN NULL ELSE note END",
        "DELETE FROM notes_plain WHERE note = '[1]'",
    )
    text = move(environment, database_url)
    assert "notes_keyed: 3 rows read, 2 new or changed, 1 known\n" in text
    assert [row[:2] for row in moved("notes_keyed", "id")] == [(1, 0), (2, 1), (3, 0)]
    assert [row[:2] for row in moved("notes_plain", "text")] == [("a", 0), ("a", 1)]


def test_a_dry_run_changes_nothing(workspace: Workspace, source: str, tmp_path: Path) -> None:
    environment = fill(source, workspace, [("Temperature", "a", "k", n, NOON + n) for n in range(70)])
    with closing(sqlite3.connect(tmp_path / "source.sqlite3")) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    target = tmp_path / "folder" / "target.sqlite3"
    text = move(environment, f"sqlite:///{target}", "--dry-run")
    assert text.splitlines() == [
        "Temperature: 2 aggregates to copy",
        "PU_Workload: 0 readings to copy",
        "Temperature: 70 readings to copy",
        "sparkle_hosts: 1 row to copy",
        "not copied: notes, of which no installed plugin declares the columns",
    ]
    assert not target.parent.exists()
    report = json.loads(move(environment, f"sqlite:///{target}", "--dry-run", "--json"))
    assert (report["copied"], report["not_copied"]) == (False, ["notes"])
    assert report["parts"][2] == {"name": "Temperature", "what": "readings", "rows": 70}
    assert not target.parent.exists()


def test_a_plugin_without_tables_is_no_obstacle(workspace: Workspace, source: str, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path / 'target.sqlite3'}"
    environment = fill(source, workspace, [("Temperature", "a", "k", n, NOON + n) for n in range(70)])
    # Just installed, and one that has lost a table.
    install(workspace.plugins, workspace.topic)
    with closing(sqlite3.connect(tmp_path / "source.sqlite3")) as connection:
        connection.execute("DROP TABLE pu_workload_aggregates_data")
    text = move(environment, target)
    assert "Temperature: 70 readings read, 70 new or changed, 0 known\n" in text
    assert "Fans" not in text
    assert "PU_Workload: 0 readings read" in text


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_error_names_the_database_that_reports_it(
    workspace: Workspace, source: str, database_url: str, tmp_path: Path
) -> None:
    environment = fill(source, workspace, [("Temperature", "a", "k", n, NOON + n) for n in range(70)])
    assert run_command(workspace.environment(NOWHERE, database_url), "migrate").returncode == 0
    engine = make_engine(make_url(database_url))
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE sparkle_hosts DROP COLUMN interval_seconds")
    engine.dispose()
    refused = run_command(environment, "move", "--to", database_url)
    assert refused.returncode == 1
    assert f"database: expected {database_url} to execute the statement" in refused.stderr
    with closing(sqlite3.connect(tmp_path / "source.sqlite3")) as connection:
        connection.execute("ALTER TABLE sparkle_hosts DROP COLUMN removed_at")
    refused = run_command(environment, "move", "--to", f"sqlite:///{tmp_path / 'other'}")
    assert refused.returncode == 1
    assert f"database: expected {source} to execute the statement" in refused.stderr


def test_the_url_can_be_read_from_standard_input(workspace: Workspace, source: str, tmp_path: Path) -> None:
    environment = fill(source, workspace, [("Temperature", "a", "k", 1, NOON)])
    done = subprocess.run(
        faust("move", "--to", "-"),
        input=f"sqlite:///{tmp_path / 'target.sqlite3'}\n",
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert count(f"sqlite:///{tmp_path / 'target.sqlite3'}", "temperature_readings") == 1


def test_wrong_usage_is_one_line_without_the_password(
    workspace: Workspace, source: str, tmp_path: Path
) -> None:
    missing = workspace.environment(NOWHERE, source)
    assert "expected a database at" in move(missing, f"sqlite:///{tmp_path / 'x'}", code=2)
    environment = fill(source, workspace, [("Temperature", "a", "k", 1, NOON)])
    for target, code, expected in (
        (source, 2, "--to: expected another database, found sqlite:////"),
        (
            "db2://a:secret@b/c",
            2,
            "--to: expected a SQLAlchemy dialect for db2://… to be installed, found none",
        ),
        ("nonsense", 2, "--to: expected a SQLAlchemy URL"),
        (
            f"postgresql://sparkle:secret@127.0.0.1:{free_port()}/x",
            1,
            "--to: expected a response from postgresql",
        ),
    ):
        done = run_command(environment, "move", "--to", target)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith(expected)
        assert done.stderr.count("\n") == 1
        assert "secret" not in done.stderr
    newer = f"sqlite:///{tmp_path / 'newer.sqlite3'}"
    with closing(sqlite3.connect(tmp_path / "newer.sqlite3")) as connection:
        connection.execute("CREATE TABLE sparkle_schema (version_num VARCHAR(255) PRIMARY KEY)")
        connection.execute("INSERT INTO sparkle_schema VALUES ('9999')")
        connection.commit()
    for options in ([], ["--dry-run"]):
        refused = move(environment, newer, *options, code=2)
        assert refused.startswith("--to: expected sqlite:////")
        assert "found 9999" in refused
    (workspace.plugins / "broken").mkdir()
    (workspace.plugins / "broken" / "__init__.py").write_text(
        'from .manifest import *\nraise OSError("no")\n'
    )
    (workspace.plugins / "broken" / "manifest.py").write_text(
        f'NAME = "Broken"\nVERSION = "1"\nAUTHOR = "x"\nTOPIC = "{workspace.topic}"\n'
    )
    broken = run_command(environment, "move", "--to", f"sqlite:///{tmp_path / 'y.sqlite3'}")
    assert broken.returncode == 1
    assert broken.stderr.startswith("plugin Broken")
    assert not (tmp_path / "y.sqlite3").exists()
