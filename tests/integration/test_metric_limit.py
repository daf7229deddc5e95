"""A host with too many distinct metrics affects neither other hosts nor its own first metrics."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import make_url

from sparkle_app.ingest import metric_limit
from sparkle_app.ingest.metric_limit import MetricLimit
from sparkle_app.ingest.sql_writer import SqlWriter
from sparkle_app.model.errors import Reason
from sparkle_app.model.record import Outcome, Record
from sparkle_app.plugin_api import AggregatesTable, Base, Plugin, Reading, ReadingsTable, StoredReading
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.models import tables_of
from tests.integration.conftest import StartWorker
from tests.integration.test_statements import START
from tests.support.aggregate_worker import InlineExecutor
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import query
from tests.support.eventually import eventually
from tests.support.produce import consume_all, produce
from tests.support.worker import Workspace, run_command

pytestmark = pytest.mark.any_broker

LIMIT, BUCKET, MINUTE = 5, 60, 60_000_000


class Readings(ReadingsTable):
    __tablename__ = "limited_readings"


class Aggregates(AggregatesTable):
    __tablename__ = "limited_aggregates"


class Plain(Plugin):
    DataFrame = Readings
    Aggregates = Aggregates


class OwnLayout(Plain):
    """Loads its readings by itself, as a plugin with another table does."""

    def load_readings(
        self, connection: Connection, hostnames: Sequence[str], start: int, end: int, limit: int | None = None
    ) -> Iterator[StoredReading]:
        yield from super().load_readings(connection, hostnames, start, end, limit)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(make_url(database_url))
    Base.metadata.create_all(engine, tables=tables_of(Readings))
    yield engine
    engine.dispose()


class World:
    """A database, and the SQL writers of one worker after the other."""

    def __init__(self, engine: Engine, plugin: Plugin) -> None:
        self.engine = engine
        self._plugin = plugin
        self.restart()

    def restart(self) -> None:
        """Another worker, which knows nothing."""
        self._writer = SqlWriter(
            self.engine, {"Plain": self._plugin}, InlineExecutor(), LIMIT, BUCKET, time.time
        )

    def rebalance(self) -> None:
        """Partitions are assigned to the worker."""
        self._writer.forget_metrics()

    def store(self, *readings: Reading) -> list[int]:
        """Store readings; the offsets of those that are not stored."""
        outcomes = [Outcome(Record("telemetry", 0, each.offset, START, b""), [each], []) for each in readings]
        stored, refused, _ = asyncio.run(self._writer.store(outcomes))
        assert len(stored.get("Plain", [])) + len(refused) == len({each.id for each in readings})
        for each in refused:
            assert each.error.reason is Reason.TOO_MANY_METRICS
            assert (each.error.plugin, each.error.metric) == ("Plain", each.reading.key)
            assert each.reading.key not in each.error.detail
        return [each.reading.offset for each in refused]

    def metrics(self, hostname: str = "host") -> set[str]:
        """The stored metrics of a host."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                text("SELECT DISTINCT metric FROM limited_readings WHERE hostname = :host"),
                {"host": hostname},
            )
            return set(rows.scalars())


@pytest.fixture(params=[Plain, OwnLayout])
def world(engine: Engine, request: pytest.FixtureRequest) -> World:
    return World(engine, request.param())


def reading(number: int, metric: str, at: int = START, hostname: str = "host", **changes: Any) -> Reading:
    plain = Reading(
        number.to_bytes(16),
        1,
        hostname,
        "Plain",
        metric,
        float(number),
        at,
        at,
        True,
        "telemetry",
        0,
        number,
    )
    return msgspec.structs.replace(plain, **changes)


def flood(number: int, first: int = 0, **changes: Any) -> list[Reading]:
    return [reading(each, f"k{each}", **changes) for each in range(first, first + number)]


def test_the_limit_applies_to_each_host_and_bucket(world: World) -> None:
    others = flood(LIMIT, 100, hostname="other")
    later = flood(LIMIT + 1, 200, at=START + MINUTE)
    assert world.store(*flood(8), *others, *later) == [5, 6, 7, 205]
    assert world.metrics() == {f"k{n}" for n in (*range(5), *range(200, 205))}
    assert len(world.metrics("other")) == LIMIT
    # Metrics that are stored may have any number of readings.
    assert world.store(*(reading(1000 + n, f"k{n % LIMIT}") for n in range(50))) == []
    assert world.store(reading(2000, "k0"), reading(2001, "new"), reading(2002, "k4")) == [2001]


def test_redelivered_readings_have_the_same_fate_in_any_worker(world: World) -> None:
    for first in range(0, 8, 2):
        world.store(*flood(2, first))
    stored = world.metrics()
    for order in (
        flood(8),
        flood(8)[::-1],
        flood(4, 4),
        flood(1, 5)[:1] + flood(2, 6),
        flood(1, 7) + flood(2, 5),
    ):
        world.restart()
        assert sorted(world.store(*order)) == [5, 6, 7]
        assert sorted(world.store(*order)) == [5, 6, 7]
    assert world.metrics() == stored


@pytest.mark.parametrize("number", [5, 6, 7])
def test_a_reading_that_was_refused_is_refused_again_even_alone(world: World, number: int) -> None:
    world.store(*flood(8))
    world.restart()
    assert world.store(*flood(1, number)) == [number]
    # A later bucket is not known yet.
    assert world.store(*flood(LIMIT + 1, 300, at=START + MINUTE)) == [305]
    world.restart()
    assert world.store(*flood(1, 400, at=START + 2 * MINUTE), *flood(1, 305, at=START + MINUTE)) == [305]


def test_after_a_rebalance_the_metrics_of_other_workers_count(engine: Engine) -> None:
    one, other = World(engine, Plain()), World(engine, Plain())
    other.store(*flood(1))
    one.store(*flood(LIMIT, 10))
    other.rebalance()
    assert other.store(*flood(1, 20)) == [20]


def test_a_rebalance_during_a_batch_takes_effect_with_the_next_one(engine: Engine) -> None:
    limit = MetricLimit({"Plain": Plain()}, LIMIT, BUCKET)
    # As from the thread of the event loop, while the database answers.
    event.listen(engine, "after_cursor_execute", lambda *_: limit.forget())
    with engine.connect() as connection:
        for _ in range(2):
            over = limit.excess(connection, flood(LIMIT + 2))
            assert [each.offset for each in over] == [LIMIT, LIMIT + 1]


def test_a_duplicate_of_a_stored_reading_is_no_excess_in_another_bucket(world: World) -> None:
    world.store(*flood(1))
    world.store(*flood(LIMIT, 100, at=START + MINUTE))
    duplicate = reading(0, "k0", at=START + MINUTE, offset=300)
    assert world.store(duplicate, reading(1, "k1", at=START + MINUTE)) == [1]


def test_several_workers_exceed_the_limit_at_most_by_their_share(engine: Engine) -> None:
    one, other = World(engine, Plain()), World(engine, Plain())
    for number in range(100):
        (one if number % 2 else other).store(reading(number, f"k{number}"))
    # Each allows half of the limit before it looks.
    assert LIMIT <= len(one.metrics()) <= LIMIT + LIMIT // 2


def test_hosts_with_few_metrics_cost_one_query_for_all_that_are_new(engine: Engine) -> None:
    limit = MetricLimit({"Plain": Plain()}, 2000, BUCKET)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    with engine.connect() as connection:
        for batch in range(10):
            few = [
                reading(n, f"k{n % 200}", START + n % 40 * MINUTE, f"host-{n % 5}-{batch // 5}")
                for n in range(1000)
            ]
            assert limit.excess(connection, few) == []
    assert sum("GROUP BY" in statement for statement in statements) == 2


def test_memory_is_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_limit, "_MAX_ESTIMATES", 50)
    monkeypatch.setattr(metric_limit, "_MAX_NAMES", 20)
    limit = MetricLimit({"Plain": Plain()}, LIMIT, BUCKET)
    with engine.connect() as connection:
        for minute in range(100):
            assert limit.excess(connection, flood(LIMIT, at=START + minute * MINUTE)) == []
        assert [each.offset for each in limit.excess(connection, flood(LIMIT + 1, at=START))] == [LIMIT]
    assert sum(map(len, limit._estimates.values())) <= 50
    assert sum(map(len, limit._names.values())) <= 20


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_flood_of_metrics_becomes_dead_letters_and_other_hosts_notice_nothing(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    limit, number = 100, 1500
    collector = Collector(workspace.certs)
    worker = start_worker(aggregates__max_metrics_per_host=limit, dead_letters__per_cause=number)
    long = "m" * 145
    produce(
        broker.bootstrap,
        workspace.topic,
        [collector.record("noisy", "Temperature", f"{long}{n:05}", 20.0) for n in range(number)],
    )
    produce(
        broker.bootstrap,
        workspace.topic,
        [collector.record("quiet", "Temperature", "core", 30.0) for _ in range(10)],
    )
    status, answer = eventually(
        lambda: worker.get("/api/v1/plugins/Temperature/hosts/quiet"),
        lambda found: found[0] == 200 and found[1]["metrics"]["core"]["count"] == 10,
    )
    assert answer["metrics"]["core"]["average"] == 30
    letters = eventually(
        lambda: consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters"),
        lambda found: len(found) + rows(database_url, "noisy") >= number,
    )
    assert {dict(letter.headers)["sparkle-reason"] for letter in letters} == {b"too_many_metrics"}
    stored = rows(database_url, "noisy")
    assert len({letter.key for letter in letters}) == len(letters) == number - stored
    per_bucket = query(
        database_url,
        "SELECT count(DISTINCT metric) AS n FROM temperature_readings WHERE hostname = 'noisy'"
        " GROUP BY date_trunc('minute', observed_at)",
    )
    assert max(row["n"] for row in per_bucket) == limit
    environment = workspace.environment(broker.bootstrap, database_url)
    done = run_command(environment, "verify", "--json", "--plugin", "Temperature")
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = json.loads(done.stdout)
    assert (report["readings"], report["differences"]) == (stored + 10, [])
    status, answer = worker.get("/api/v1/plugins/Temperature/hosts/noisy")
    assert (status, len(answer["metrics"])) == (200, stored)


def rows(url: str, hostname: str) -> int:
    """The number of stored readings of a host."""
    found = query(url, "SELECT count(*) AS n FROM temperature_readings WHERE hostname = :host", host=hostname)
    return int(found[0]["n"])
