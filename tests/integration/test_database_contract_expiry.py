"""What storage promises of merging and deleting, of every database."""

import random
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest
from sqlalchemy import Engine

from sparkle_app.model.buckets import bucket_start
from sparkle_app.model.retention import DAY, HOUR, READINGS, Retention
from sparkle_app.model.time import span
from sparkle_app.plugin.merging import merge, store_buckets
from sparkle_app.plugin_api import Base, Plugin
from sparkle_app.retention.retainer import Retainer
from sparkle_app.storage.aggregate_steps import select_merged
from sparkle_app.storage.aggregates import (
    select_aggregates,
    upsert_growing,
)
from sparkle_app.storage.aggregation import aggregate_readings
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.expiry import (
    count_expired,
    delete_buckets,
    delete_readings,
    first_bucket,
    first_of_hosts,
    first_reading,
    former_bucket_sizes,
    named_hosts,
)
from sparkle_app.storage.hosts import Host
from sparkle_app.storage.models import tables_of
from sparkle_app.storage.readings import select_counts
from sparkle_app.storage.retention import advance, watermarks
from tests.support import contract
from tests.support.contract import AGGREGATES, SECOND, TEXTS, aggregate, reading, store

pytestmark = pytest.mark.every_database

START = bucket_start(contract.START, DAY) + span(DAY)
MINUTE, HOURS = 60 * SECOND, span(HOUR)


class ContractPlugin(Plugin):
    DataFrame = contract.Readings
    Aggregates = contract.Aggregates


PLUGIN = ContractPlugin()


@pytest.fixture
def engine(any_statements: Engine) -> Engine:
    Base.metadata.create_all(
        any_statements, tables=[Host.__table__, *tables_of(contract.Readings, contract.Aggregates)]
    )
    return any_statements


def counts(engine: Engine, resolution: int) -> dict[int, int]:
    """The number of readings in the aggregates of a host, by hours since START."""
    with read_transaction(engine) as connection:
        rows = select_aggregates(connection, AGGREGATES, ["host"], None, resolution, 0, START + 9 * span(DAY))
        found: dict[int, int] = {}
        for row in rows:
            hour = (row.bucket_start - START) // HOURS
            found[hour] = found.get(hour, 0) + row.statistics.count
        return found


def count_readings(engine: Engine) -> int:
    with read_transaction(engine) as connection:
        return dict(select_counts(connection, contract.READINGS, 0, START + 9 * span(DAY), None)).get(
            "host", 0
        )


def test_only_expired_rows_of_the_given_hosts_are_deleted(engine: Engine) -> None:
    store(
        engine,
        [
            reading(number * 100 + hour, hostname=host, observed_at=START + hour * HOURS - 1)
            for number, host in enumerate(TEXTS)
            for hour in (1, 2, 3)
        ],
    )
    with engine.begin() as connection:
        upsert_growing(
            connection,
            AGGREGATES,
            [aggregate(1, host, at=START + at * MINUTE) for host in TEXTS for at in (59, 60, 61)],
        )
    with read_transaction(engine) as connection:
        table = contract.READINGS
        assert first_reading(connection, table, START + 3 * HOURS) == START + HOURS - 1
        assert first_reading(connection, table, START + HOURS - 1) is None
        assert first_bucket(connection, AGGREGATES, 60, START + HOURS) == START + 59 * MINUTE
        assert first_bucket(connection, AGGREGATES, 60, START + 59 * MINUTE) is None
        assert first_bucket(connection, AGGREGATES, HOUR, START + HOURS) is None
        assert named_hosts(connection) == sorted(TEXTS)
        assert first_of_hosts(connection, table, READINGS, START + 3 * HOURS) == dict.fromkeys(
            TEXTS, START + HOURS - 1
        )
        assert first_of_hosts(connection, AGGREGATES, 60, START + HOURS) == dict.fromkeys(
            TEXTS, START + 59 * MINUTE
        )
        assert first_of_hosts(connection, table, READINGS, START + HOURS - 1) == {}
        assert former_bucket_sizes(connection, 60) == []
        assert former_bucket_sizes(connection, 120) == [60]
        assert count_expired(connection, table, READINGS, START + 2 * HOURS) == 2 * len(TEXTS)
        assert count_expired(connection, AGGREGATES, 60, START + HOURS) == len(TEXTS)
        assert count_expired(connection, AGGREGATES, HOUR, START + HOURS) == 0
    half = TEXTS[::2]
    with engine.begin() as connection:
        assert delete_readings(connection, table, half, START + HOURS, START + 2 * HOURS) == len(half)
        assert delete_readings(connection, table, ["none"], 0, START + 9 * HOURS) == 0
        assert delete_buckets(connection, AGGREGATES, half, HOUR, 0, START + 9 * HOURS) == 0
        assert delete_buckets(connection, AGGREGATES, half, 60, 0, START + HOURS) == len(half)
    with read_transaction(engine) as connection:
        assert count_expired(connection, table, READINGS, START + 9 * HOURS) == 3 * len(TEXTS) - len(half)
        found = dict(select_counts(connection, table, START + HOURS, START + 2 * HOURS, None))
        assert found == {host: 1 for host in TEXTS if host not in half}
        left = select_aggregates(connection, AGGREGATES, half, None, 60, 0, START + 9 * HOURS)
        assert {row.bucket_start for row in left} == {START + 60 * MINUTE, START + 61 * MINUTE}


def test_hours_merged_by_the_database_are_the_aggregates_of_the_readings(engine: Engine) -> None:
    chance = random.Random(4)
    store(
        engine,
        [
            reading(
                number,
                hostname=chance.choice(TEXTS),
                key=chance.choice(("k", "K")),
                value=chance.choice((-1.5, 0.25, 1e300, -1e300, 1.5e308, 7.0)),
                observed_at=START + chance.randrange(4 * HOURS),
            )
            for number in range(600)
        ],
    )
    with engine.begin() as connection:
        scope = (TEXTS, 60, START, START + 4 * HOURS)
        upsert_growing(
            connection, AGGREGATES, list(aggregate_readings(connection, contract.READINGS, *scope))
        )
    with read_transaction(engine) as connection:
        merged = {
            (row.hostname, row.metric, row.bucket_start): row.statistics
            for row in select_merged(connection, AGGREGATES, TEXTS, 60, START, START + 4 * HOURS, HOUR)
        }
        computed = {
            (row.hostname, row.metric, row.bucket_start): row.statistics
            for row in aggregate_readings(
                connection, contract.READINGS, TEXTS, HOUR, START, START + 4 * HOURS
            )
        }
    assert merged.keys() == computed.keys()
    for key, each in merged.items():
        other = computed[key]
        assert (each.count, each.minimum, each.maximum, each.last, each.last_at, each.large_sum) == (
            other.count, other.minimum, other.maximum, other.last, other.last_at, 0.0,
        )  # fmt: skip
        # Up to rounding: values of both signs.
        assert each.sum == pytest.approx(other.sum, rel=1e-9, abs=1e292)


def test_a_reading_that_is_stored_while_watermarks_advance_is_deleted_with_the_others(engine: Engine) -> None:
    """The writer has read the old watermarks: whatever it stores, retention sees it."""
    late = [reading(number, observed_at=START + number) for number in range(3)]
    with engine.begin() as connection:
        watermarks(connection, "p", 60, lock=True)
    retainer = Retainer("p", PLUGIN, engine, 60, Retention(2 * DAY, 2 * DAY, 2 * DAY, None))
    with ThreadPoolExecutor() as threads:
        with engine.begin() as connection:
            marks = watermarks(connection, "p", 60, lock=True)
            running = threads.submit(lambda: list(retainer.run(START + 4 * span(DAY))))
            # It waits: to create the watermarks in SQLite, to advance them otherwise.
            assert not _ends_soon(running)
            PLUGIN.store_readings(connection, late)
            rows = list(PLUGIN.compute_aggregates(connection, ["host"], 60, START, START + MINUTE))
            assert store_buckets(PLUGIN, connection, marks, rows) == 0
        running.result()
    list(retainer.run(START + 4 * span(DAY)))
    assert count_readings(engine) == 0
    assert counts(engine, 60) == counts(engine, HOUR) == {}
    assert counts(engine, DAY) == {0: 3}


def test_an_hour_is_merged_again_by_whoever_changes_a_bucket_while_it_is_being_merged(engine: Engine) -> None:
    """Retention has read the buckets, then a worker changes one, then retention stores what it has read."""
    store(engine, [reading(number, observed_at=START + number * MINUTE) for number in range(5)])
    with engine.begin() as connection:
        marks = watermarks(connection, "p", 60, lock=True)
        rows = list(PLUGIN.compute_aggregates(connection, ["host"], 60, START, START + HOURS))
        store_buckets(PLUGIN, connection, marks, rows)
    advance(engine, "p", HOUR, merging_until=START + HOURS)
    with read_transaction(engine) as connection:
        before = list(select_merged(connection, AGGREGATES, ["host"], 60, START, START + HOURS, HOUR))
    store(engine, [reading(9, observed_at=START + 1)])
    with engine.begin() as connection:
        marks = watermarks(connection, "p", 60, lock=True)
        rows = list(PLUGIN.compute_aggregates(connection, ["host"], 60, START, START + MINUTE))
        store_buckets(PLUGIN, connection, marks, rows)
    assert counts(engine, HOUR) == {0: 6}
    with engine.begin() as connection:
        PLUGIN.store_aggregates(connection, before)
    assert [row.statistics.count for row in before] == [5]
    assert counts(engine, HOUR) == {0: 6}


def test_rows_expire_while_others_are_stored(engine: Engine) -> None:
    """In any order: what is left is what was not deleted, and days have counted all."""
    retention = Retention(DAY, DAY, 3 * DAY, None)
    now = START + 3 * span(DAY) + HOURS
    with engine.begin() as connection:
        watermarks(connection, "p", 60, lock=True)
    accepted: list[int] = []

    def work() -> None:
        chance = random.Random(1)
        for number in range(60):
            at = START + chance.randrange(3 * span(DAY))
            start = bucket_start(at, 60)
            with engine.begin() as connection:
                if not watermarks(connection, "p", 60, lock=True).accepts(at):
                    continue
                PLUGIN.store_readings(connection, [reading(number, observed_at=at)])
            with engine.begin() as connection:
                marks = watermarks(connection, "p", 60, lock=True)
                rows = PLUGIN.compute_aggregates(connection, ["host"], 60, start, start + MINUTE)
                if store_buckets(PLUGIN, connection, marks, list(rows)) == 0 and marks.accepts(at):
                    accepted.append(at)

    with ThreadPoolExecutor() as threads:
        working = threads.submit(work)
        retainer = Retainer("p", PLUGIN, engine, 60, retention)
        runs = 0
        while not working.done() or runs < 2:
            list(retainer.run(now))
            runs += 1
        working.result()
    list(retainer.run(now))
    kept = bucket_start(now - span(DAY), DAY)
    assert len(accepted) > 10
    assert count_readings(engine) == sum(at >= kept for at in accepted)
    assert sum(counts(engine, 60).values()) == sum(at >= kept for at in accepted)
    assert sum(counts(engine, HOUR).values()) == len(accepted)
    assert sum(counts(engine, DAY).values()) == len(accepted)


def test_merging_nothing_stores_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        marks = watermarks(connection, "p", 60, lock=True)
        merge(PLUGIN, connection, marks, ["host"], HOUR, START)
    assert counts(engine, HOUR) == {}


def _ends_soon(future: Future[Any]) -> bool:
    """Whether a thread ends although it should wait: then it does so at once."""
    return bool(wait([future], timeout=0.3).done)
