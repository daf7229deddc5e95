"""Hosts that get another name, and hosts that are merged: what is stored stays, and aggregates stay exact."""

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from sparkle_app.audit.renaming import HostRows, Renaming
from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.reading import Reading
from sparkle_app.model.time import LATEST
from sparkle_app.plugin_api import Base, Plugin
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.host_queries import select_hosts
from sparkle_app.storage.hosts import Host, record_activity, remove_host
from sparkle_app.storage.models import tables_of
from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.contract import HOUR, SECOND, START, Aggregates, Readings, reading, store
from tests.support.database import EVERY_DATABASE, count, query
from tests.support.eventually import eventually
from tests.support.produce import produce
from tests.support.rows import store as store_rows
from tests.support.worker import Workspace, run_command

NAME = "Contract"
RESOLUTIONS = (60, 3600)
LENGTH = 6 * HOUR


class Contract(Plugin):
    """The plugin of the contract's tables."""

    DataFrame = Readings
    Aggregates = Aggregates


PLUGIN = Contract()


def readings_of(hostname: str, metrics: Sequence[str], seed: int) -> list[Reading]:
    """Readings at random times of several hours, some of them at the same time as those of other hosts."""
    chance = random.Random(seed)
    return [
        reading(
            seed * 1000 + number,
            hostname=hostname,
            key=chance.choice(metrics),
            value=chance.uniform(-9, 9),
            observed_at=START + chance.randrange(LENGTH // (30 * SECOND)) * 30 * SECOND,
        )
        for number in range(300)
    ]


def buckets_of(readings: Sequence[Reading]) -> set[tuple[str, int, int]]:
    """Of which there is an aggregate each: metric, bucket size and number of the bucket."""
    return {
        (each.key, size, each.observed_at // (size * SECOND)) for each in readings for size in RESOLUTIONS
    }


@pytest.fixture
def engine(any_statements: Engine) -> Engine:
    Base.metadata.create_all(any_statements, tables=[*tables_of(Readings, Aggregates), Host.__table__])
    return any_statements


def fill(engine: Engine, *hostnames: str) -> None:
    with engine.begin() as connection:
        for resolution in RESOLUTIONS:
            PLUGIN.fill_aggregates(connection, hostnames, resolution, START, START + LENGTH)


def assert_exact(engine: Engine, expected: dict[str, int]) -> None:
    """The hosts have these numbers of readings, and the aggregates of these, and nobody else has any."""
    with read_transaction(engine) as connection:
        assert dict(PLUGIN.count_readings(connection, START, START + LENGTH)) == expected
        for resolution in RESOLUTIONS:
            scope = list(expected), resolution, START, START + LENGTH
            computed = {
                (row.hostname, row.metric, row.bucket_start): row.statistics
                for row in PLUGIN.compute_aggregates(connection, *scope)
            }
            stored = {
                (row.hostname, row.metric, row.bucket_start): row.statistics
                for row in PLUGIN.load_aggregates(connection, scope[0], None, *scope[1:])
            }
            assert stored.keys() == computed.keys()
            for key, each in stored.items():
                assert each.sum == pytest.approx(computed[key].sum, abs=1e-9)
                each.sum = computed[key].sum
            assert stored == computed
            buckets = PLUGIN.count_aggregates(connection, resolution, START, START + LENGTH)
            assert {hostname for hostname, _, _ in buckets} == set(expected)


def rename(engine: Engine, old: str, new: str) -> None:
    with engine.begin() as connection:
        Renaming({NAME: PLUGIN}, old, new).apply(connection, 60)


@pytest.mark.every_database
def test_rows_are_merged_exactly_and_there_and_back(engine: Engine) -> None:
    first = readings_of("Ä 1", ("k", "only old"), 1)
    second = readings_of("b", ("k", "only new"), 2)
    third = readings_of("c", ("k",), 3)
    fourth = readings_of("Ä 1", ("k", "only old", "third"), 4)
    for readings in (first, second, third):
        store(engine, readings)
    fill(engine, "Ä 1", "b", "c")
    with read_transaction(engine) as connection:
        found = Renaming({NAME: PLUGIN}, "Ä 1", "b").count(connection, "Ä 1")
        ids = set(connection.execute(text("SELECT id FROM contract_readings_data")).scalars())
    old, new = buckets_of(first), buckets_of(second)
    assert found[NAME] == HostRows(300, len(old), len(old & new))
    assert 0 < len(old & new) < len(old)
    rename(engine, "Ä 1", "b")
    assert_exact(engine, {"b": 600, "c": 300})
    # A redelivered reading is found under its new name.
    assert store(engine, first) == set()
    # The old name comes back, and gets everything.
    store(engine, fourth)
    fill(engine, "Ä 1")
    assert_exact(engine, {"Ä 1": 300, "b": 600, "c": 300})
    rename(engine, "b", "Ä 1")
    assert_exact(engine, {"Ä 1": 900, "c": 300})
    rename(engine, "Ä 1", "d")
    assert_exact(engine, {"d": 900, "c": 300})
    with read_transaction(engine) as connection:
        assert ids < set(connection.execute(text("SELECT id FROM contract_readings_data")).scalars())
        assert Renaming({NAME: PLUGIN}, "Ä 1", "b").count(connection, "b") == {}
        found = Renaming({NAME: PLUGIN}, "c", "d").count(connection, "c")
    old, new = buckets_of(third), buckets_of([*first, *second, *fourth])
    assert found == {NAME: HostRows(300, len(old), len(old & new))}


@pytest.mark.every_database
def test_the_table_of_hosts_follows(engine: Engine) -> None:
    def activity(hostname: str, plugin: str, first: int, last: int, config_id: int) -> HostActivity:
        times = (START + first * SECOND, START + last * SECOND)
        return HostActivity(hostname, plugin, config_id, *times, *times)

    known = [
        activity("old", "P", 0, 100, 1),
        activity("new", "P", 50, 200, 2),
        activity("old", "Q", 10, 20, 1),
        activity("new", "R", 10, 20, 2),
        activity("old", "S", 10, 500, 1),
        activity("new", "S", 20, 30, 2),
        activity("old", "T", 10, 500, 1),
        activity("new", "T", 20, 30, 2),
    ]
    record_activity(engine, known, LATEST)
    with engine.begin() as connection:
        assert remove_host(connection, "old", "S", START + 600 * SECOND)
        assert remove_host(connection, "new", "T", START + 600 * SECOND)
    rename(engine, "old", "new")
    with read_transaction(engine) as connection:
        assert list(select_hosts(connection)) == [
            activity("new", "P", 0, 200, 2),
            activity("new", "Q", 10, 20, 1),
            activity("new", "R", 10, 20, 2),
            activity("new", "S", 20, 30, 2),
            activity("new", "T", 10, 500, 1),
        ]
    # Nothing is left of the old name: it would be a new host.
    assert record_activity(engine, [activity("old", "S", 700, 700, 1)], LATEST) == []


# With the embedded broker, a worker that has ended remains a member of the group.
@pytest.mark.kafka
@EVERY_DATABASE
def test_workers_go_on_with_the_new_names(
    broker: Broker, workspace: Workspace, database_url: str, start_worker: StartWorker
) -> None:
    collector = Collector(workspace.certs)
    environment = workspace.environment(broker.bootstrap, database_url)
    worker = start_worker()

    def command(*options: str, code: int = 0) -> str:
        done = run_command(environment, *options)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def counted() -> int:
        statement = 'SELECT sum("count") AS n FROM temperature_aggregates'
        return int(query(database_url, statement)[0]["n"] or 0)

    old = [collector.record("web-1", "Temperature", "k", 20.0 + n % 5) for n in range(40)]
    new = [collector.record("www-1", "Temperature", "k", 20.0 + n % 5) for n in range(30)]
    produce(broker.bootstrap, workspace.topic, [*old, *new])
    eventually(counted, lambda n: n == 70)
    eventually(lambda: count(database_url, "sparkle_hosts"), lambda n: n == 2)
    running = command("hosts", "merge", "web-1", "www-1", "--yes", code=1)
    assert "expected no members, found 1; stop all workers" in running
    planned = command("hosts", "merge", "web-1", "www-1", "--dry-run")
    assert "Temperature: 40 readings, " in planned
    assert "Stop all workers first: the consumer group has 1 member." in planned
    assert worker.terminate() == 0
    # Read after the merge: a record that is stored already, and one that is not.
    produce(broker.bootstrap, workspace.topic, [old[0], collector.record("web-1", "Temperature", "k", 1.0)])
    assert "hosts merge adds" in command("hosts", "rename", "web-1", "www-1", "--yes", code=2)
    assert "or use hosts rename" in command("hosts", "merge", "web-1", "new", "--yes", code=2)
    assert "found web-9" in command("hosts", "rename", "web-9", "new", "--yes", code=2)
    assert "found web-1 twice" in command("hosts", "rename", "web-1", "web-1", "--yes", code=2)
    assert "expected a terminal, found none; use --yes" in command("hosts", "rename", "web-1", "n", code=2)
    for wrong in (("rename", "web-1"), ("merge", "a", "b", "--silent"), ("list", "a", "b"), ("--dry-run",)):
        assert "expected rename OLD NEW or merge OLD NEW" in command("hosts", *wrong, code=2)
    merged = json.loads(command("hosts", "merge", "web-1", "www-1", "--yes", "--json"))
    rows = merged["plugins"]["Temperature"]
    assert (merged["dry_run"], rows["readings"], rows["common"] > 0) == (False, 40, True)
    assert "Temperature: 70 readings" in command("verify")
    assert "www-1 is web-2 now; start the workers." in command("hosts", "rename", "www-1", "web-2", "--yes")
    assert [row["host"] for row in json.loads(command("hosts", "--json"))] == ["web-2"]
    assert "Temperature: 70 readings" in command("verify")
    worker = start_worker()
    eventually(counted, lambda n: n == 71)
    assert query(
        database_url, "SELECT hostname, count(*) AS n FROM temperature_readings GROUP BY hostname ORDER BY 1"
    ) == [{"hostname": "web-1", "n": 1}, {"hostname": "web-2", "n": 70}]
    for host, number in (("web-1", 1), ("web-2", 70)):
        found = worker.get(f"/api/v1/plugins/Temperature/hosts/{host}?window=1h")[1]
        assert found["metrics"]["k"]["count"] == number
    assert worker.get("/api/v1/plugins/Temperature/hosts/www-1?window=1h")[0] == 404
    assert "Temperature: 71 readings" in command("verify")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("new", ["", "ä" * 512 + "x", "web-\udcff"], ids=["empty", "long", "not UTF-8"])
def test_a_new_name_is_one_that_records_can_carry(workspace: Workspace, database_url: str, new: str) -> None:
    environment = workspace.environment("127.0.0.1:1", database_url)
    store_rows(database_url, [("web-1", "core/0", 1.0, datetime(2026, 11, 23, tzinfo=UTC))])
    done = run_command(environment, "hosts", "rename", "web-1", new, "--dry-run")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert query(database_url, "SELECT DISTINCT hostname FROM temperature_readings") == [
        {"hostname": "web-1"}
    ]


OWN_AGGREGATES = """


class Own(Temperature):
    def load_aggregates(self, connection, hostnames, metric, resolution, start, end):
        return []

    def store_aggregates(self, connection, rows):
        pass

    def count_aggregates(self, connection, resolution, start, end, hostname=None):
        return [("web-1", 0, 1)] if hostname == "web-1" and resolution == 3600 else []


plugin = Own()
"""


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_aggregates_that_only_the_plugin_finds_are_not_left_behind(
    workspace: Workspace, database_url: str
) -> None:
    server = workspace.plugins / "temperature" / "server.py"
    server.write_text(server.read_text() + OWN_AGGREGATES)
    environment = workspace.environment("127.0.0.1:1", database_url)
    at = datetime(2026, 11, 23, tzinfo=UTC)
    store_rows(database_url, [("web-1", "core/0", 1.0, at), ("web-2", "core/0", 1.0, at)])
    refused = run_command(environment, "hosts", "rename", "web-1", "www-1", "--yes")
    assert refused.returncode == 1
    assert "found plugin Temperature, which stores them in its own way" in refused.stderr
    # It goes on to ask the broker for workers.
    other = run_command(environment, "hosts", "rename", "web-2", "www-2", "--yes")
    assert other.stderr.startswith("broker.url: ")
