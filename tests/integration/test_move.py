"""The command `move`: everything is in the other database, once, also after it was killed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from sparkle_app.model.reading import Reading
from sparkle_app.model.retention import READINGS
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.storage.engine import make_engine, read_transaction
from sparkle_app.storage.names import create_series, create_sources
from tests.support.database import count, query
from tests.support.earlier_packages import install
from tests.support.eventually import eventually
from tests.support.moving import NOON, NOWHERE, assert_same, fill, move
from tests.support.package_rows import PackageReading, store_through_packages
from tests.support.processes import Process
from tests.support.worker import PROJECT, Workspace, command_process, run_command

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
    assert_same(source, database_url, TABLES)
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
        "not complete: 1 reading of Doors, 2 readings of Temperature were stored in the meantime;"
        " stop the workers and run"
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
    assert_same(source, database_url, TABLES)
    assert query(database_url, "SELECT opened FROM doors WHERE metric_main = 'door-3'") == [{"opened": 77}]
    again = move(environment, database_url)
    assert " 0 new or changed" in again
    assert again.count(" 0 new or changed") == again.count(" known\n")
