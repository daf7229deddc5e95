"""What storage promises of every database, with its own statements, those of SQLAlchemy, and those for any database."""

import math
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.errors import TransientError
from sparkle_app.model.reading import Reading
from sparkle_app.model.retention import DAY
from sparkle_app.model.time import span
from sparkle_app.plugin_api import Base
from sparkle_app.storage import columns
from sparkle_app.storage.aggregate_steps import select_steps
from sparkle_app.storage.aggregates import (
    delete_aggregates,
    select_aggregates,
    select_bucket_counts,
    upsert_growing,
)
from sparkle_app.storage.aggregation import aggregate_readings, insert_aggregated
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.dialects.base import Dialect
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.errors import is_row_error
from sparkle_app.storage.models import SERIES, tables_of
from sparkle_app.storage.positions import select_newest
from sparkle_app.storage.readings import (
    select_counts,
    select_ids,
    select_known,
    select_metrics,
    select_nth_time,
    select_page,
    select_span,
)
from sparkle_app.storage.trial import try_writing
from tests.support.contract import (
    AGGREGATES,
    HOUR,
    READINGS,
    SECOND,
    START,
    TEXTS,
    Aggregates,
    Readings,
    aggregate,
    reading,
    store,
)

pytestmark = pytest.mark.every_database


@pytest.fixture
def engine(any_statements: Engine) -> Engine:
    Base.metadata.create_all(any_statements, tables=tables_of(Readings, Aggregates))
    return any_statements


def test_a_reading_is_inserted_once_however_often_it_comes(engine: Engine) -> None:
    readings = [reading(number) for number in range(700)]
    assert store(engine, readings[:500]) == {each.id for each in readings[:500]}
    assert store(engine, readings) == {each.id for each in readings[500:]}
    assert store(engine, readings) == set()
    # Sent again days later, the record has another place and another timestamp.
    days = span(3 * DAY)
    moved = [
        msgspec.structs.replace(
            each,
            offset=1,
            value=0.0,
            received_at=each.received_at + days,
            observed_at=each.observed_at + days,
        )
        for each in readings
    ]
    assert store(engine, moved) == set()
    with read_transaction(engine) as connection:
        assert list(select_counts(connection, READINGS, START, START + HOUR, None)) == [("host", 700)]
        known = list(select_known(connection, READINGS, moved))
        assert select_ids(connection, READINGS, [each.id for each in moved]) == {each.id for each in readings}
    assert sorted(each.offset for each in known) == [each.offset for each in readings]


def test_the_newest_record_of_each_partition_is_found(engine: Engine) -> None:
    store(
        engine,
        [
            reading(1, partition=1, offset=7, received_at=START + HOUR),
            reading(2, partition=1, offset=8, received_at=START + SECOND),
            reading(3, partition=2, offset=3, received_at=START),
        ],
    )
    with read_transaction(engine) as connection:
        found = [each[1:] for each in select_newest(connection, READINGS)]
    assert sorted(found) == [(1, START + HOUR, 8), (2, START, 3)]


def test_every_value_is_returned_as_it_was_stored(engine: Engine) -> None:
    chance = random.Random(7)
    hostname: Any = READINGS.c.hostname.type
    longest = hostname.dialect_impl(engine.dialect).length
    times = (0, 1, -1, START + 123_456, 946_684_800_000_000, 4_102_444_799_999_999)
    readings = [
        reading(
            number,
            config_id=chance.choice((0, 1, 2**63 - 1, -(2**63))),
            hostname=chance.choice((*TEXTS, "h" * longest, "🌡" * (longest // 4))),
            key=chance.choice(TEXTS),
            value=chance.choice((0.1, 0.0, -0.0, 1e-308, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1 / 3)),
            observed_at=chance.choice(times),
            received_at=chance.choice(times),
            clock_trusted=chance.random() < 0.5,
        )
        for number in range(300)
    ]
    store(engine, readings)
    with read_transaction(engine) as connection:
        found = {each.id: each for each in select_known(connection, READINGS, readings)}
    for each in readings:
        stored = found[each.id]
        for name in stored.__struct_fields__:
            if name != "plugin":
                assert getattr(stored, name) == getattr(each, name), name


def test_texts_that_differ_only_in_case_spaces_or_composition_are_different(engine: Engine) -> None:
    rows = [aggregate(1, hostname, metric) for hostname in TEXTS for metric in TEXTS]
    store(engine, [reading(number, hostname=text) for number, text in enumerate(TEXTS)])
    with engine.begin() as connection:
        upsert_growing(connection, AGGREGATES, rows)
    with read_transaction(engine) as connection:
        counts = sorted(select_counts(connection, READINGS, START, START + HOUR, None))
        assert counts == sorted((text, 1) for text in TEXTS)
        found = list(select_aggregates(connection, AGGREGATES, TEXTS, None, 60, START, START + HOUR))
        (one,) = select_aggregates(connection, AGGREGATES, ["plain"], "plain ", 60, START, START + HOUR)
    assert {(row.hostname, row.metric) for row in found} == {(row.hostname, row.metric) for row in rows}
    assert (one.hostname, one.metric) == ("plain", "plain ")


def test_an_aggregate_only_grows(engine: Engine) -> None:
    counts = random.Random(3).choices(range(1, 20), k=12)
    expected = 0
    for count in counts:
        rows = [aggregate(count, metric=f"k{number}") for number in range(120)]
        with engine.begin() as connection:
            upsert_growing(connection, AGGREGATES, rows)
        expected = max(expected, count)
        with read_transaction(engine) as connection:
            stored = list(select_aggregates(connection, AGGREGATES, ["host"], None, 60, START, START + HOUR))
        assert [row.statistics.count for row in stored] == [expected] * 120
        assert stored[0].statistics == aggregate(expected).statistics


def test_only_the_given_aggregates_are_deleted(engine: Engine) -> None:
    keys = [(host, START + at, metric) for host in TEXTS for at in (0, 60 * SECOND) for metric in TEXTS[:5]]
    with engine.begin() as connection:
        upsert_growing(connection, AGGREGATES, [aggregate(1, host, metric, at) for host, at, metric in keys])
        delete_aggregates(connection, AGGREGATES, 60, [])
        delete_aggregates(connection, AGGREGATES, 120, keys)
        delete_aggregates(connection, AGGREGATES, 60, keys[::2])
    with read_transaction(engine) as connection:
        found = select_aggregates(connection, AGGREGATES, TEXTS, None, 60, 0, START + HOUR)
        assert {(row.hostname, row.bucket_start, row.metric) for row in found} == set(keys[1::2])


def test_the_database_aggregates_readings(engine: Engine) -> None:
    chance = random.Random(5)
    readings = [
        reading(
            number,
            hostname=f"host-{number % 3}",
            key=f"k{number % 2}",
            value=chance.choice((-1.5, 0.0, 20.25, 1e9)),
            observed_at=START
            + chance.choice((0, 60 * SECOND - 1, 60 * SECOND, HOUR - 1, chance.randrange(HOUR))),
        )
        for number in range(600)
    ]
    store(engine, readings)
    hosts = ["host-0", "host-2"]
    expected: dict[tuple[str, str, int], list[Reading]] = {}
    for each in sorted(readings, key=lambda each: (each.observed_at, each.value)):
        if each.hostname in hosts:
            at = each.observed_at - each.observed_at % (60 * SECOND)
            expected.setdefault((each.hostname, each.key, at), []).append(each)
    with engine.begin() as connection:
        upsert_growing(connection, AGGREGATES, [aggregate(99, "host-0", "k0", START)])
        inserted = insert_aggregated(connection, AGGREGATES, READINGS, hosts, 60, START, START + HOUR)
    assert inserted == len(expected) - 1
    with read_transaction(engine) as connection:
        computed = list(aggregate_readings(connection, READINGS, hosts, 60, START, START + HOUR))
        stored = list(select_aggregates(connection, AGGREGATES, hosts, None, 60, START, START + HOUR))
        counts = dict.fromkeys((name, at) for name, _, at in expected)
        found = {
            (name, at): n
            for name, at, n in select_bucket_counts(connection, AGGREGATES, 60, START, START + HOUR, None)
        }
        steps = list(select_steps(connection, AGGREGATES, "host-2", ["k0"], 60, START, START + HOUR, 600, 99))
    assert {(row.hostname, row.metric, row.bucket_start) for row in computed} == set(expected)
    for row in computed:
        group = expected[row.hostname, row.metric, row.bucket_start]
        values = [each.value for each in group]
        assert row.statistics == Statistics(
            len(group), sum(values), min(values), max(values), values[-1], group[-1].observed_at
        )
    kept = [row for row in stored if (row.hostname, row.metric, row.bucket_start) != ("host-0", "k0", START)]
    assert sorted(kept, key=repr) == sorted((r for r in computed if r not in _first(computed)), key=repr)
    assert found.keys() == counts.keys()
    of_one = [each for each in readings if each.hostname == "host-2" and each.key == "k0"]
    assert sum(row.statistics.count for row in steps) == len(of_one)
    assert [row.bucket_start for row in steps] == [START + n * 600 * SECOND for n in range(6)]
    assert steps[0].statistics.last_at == max(
        each.observed_at for each in of_one if each.observed_at < START + 600 * SECOND
    )


def _first(rows: Sequence[AggregateRow]) -> list[AggregateRow]:
    return [row for row in rows if (row.hostname, row.metric, row.bucket_start) == ("host-0", "k0", START)]


def test_a_sum_beyond_the_range_of_a_double_is_infinite(engine: Engine) -> None:
    values = {
        "positive": (1e308,) * 3,
        "negative": (-1e308,) * 3,
        "different": (1.5e308, 1.7e308),
        "one": (1.7e308,),
    }
    readings = [
        reading(number, key=key, value=value)
        for number, (key, value) in enumerate((key, value) for key in values for value in values[key])
    ]
    store(engine, readings)
    with engine.begin() as connection:
        inserted = insert_aggregated(connection, AGGREGATES, READINGS, ["host"], 60, START, START + HOUR)
        computed = list(aggregate_readings(connection, READINGS, ["host"], 60, START, START + HOUR))
        moved = [
            msgspec.structs.replace(row, metric="both", bucket_start=START + number * 60 * SECOND)
            for number, row in enumerate(row for row in computed if row.metric in ("positive", "negative"))
        ]
        upsert_growing(connection, AGGREGATES, [*computed, *moved])
    assert inserted == len(values)
    with read_transaction(engine) as connection:
        found = list(select_aggregates(connection, AGGREGATES, ["host"], None, 60, START, START + HOUR))
        steps = list(select_steps(connection, AGGREGATES, "host", None, 60, START, START + HOUR, 3600, 99))
    sums = {row.metric: row.statistics.sum for row in found if row.metric != "both"}
    assert sums == {"positive": math.inf, "negative": -math.inf, "different": math.inf, "one": 1.7e308}
    assert {row.metric: row.statistics.sum for row in computed} == sums
    assert sorted(row.statistics.sum for row in found if row.metric == "both") == [-math.inf, math.inf]
    averages = {row.metric: row.statistics.average for row in steps}
    assert (averages["positive"], averages["negative"]) == (1e308, -1e308)
    assert (averages["different"], averages["one"]) == (math.inf, 1.7e308)
    assert math.isnan(averages["both"])


def test_pages_of_readings_follow_each_other(engine: Engine) -> None:
    # Three have each event time.
    readings = [reading(number, observed_at=START + number // 3 * SECOND) for number in range(100)]
    store(engine, [*readings[::2], *readings[1::2]])
    after, found = None, []
    with read_transaction(engine) as connection:
        while page := list(select_page(connection, READINGS, "host", START, START + HOUR, 7, after)):
            found += [each.id for each in page]
            after = page[-1].observed_at, page[-1].id
        span = list(select_span(connection, READINGS, ["host"], START + SECOND, START + 3 * SECOND, None))
        assert select_nth_time(connection, READINGS, "host", START, START + HOUR, 10) == START + 3 * SECOND
        assert select_nth_time(connection, READINGS, "host", START, START + HOUR, 100) == START + HOUR
        metrics = list(select_metrics(connection, READINGS, {START: ["host", "other"]}, 60))
    assert found == [each.id for each in readings]
    assert [each.id for each in span] == [each.id for each in readings[3:9]]
    assert metrics == [("host", START, "k")]


def test_writers_that_insert_the_same_readings_share_them(engine: Engine) -> None:
    readings = [reading(number) for number in range(1500)]
    inserted: list[set[bytes]] = []
    at_once = threading.Barrier(4, timeout=30)

    def write() -> None:
        at_once.wait()
        found: set[bytes] = set()
        for start in range(0, len(readings), 300):
            found |= store(engine, readings[start : start + 300])
        inserted.append(found)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inserted) == 4
    assert sum(map(len, inserted)) == len(set().union(*inserted)) == len(readings)


def test_a_refused_row_is_an_error_of_a_row_and_nothing_of_its_batch_is_stored(engine: Engine) -> None:
    readings = [reading(number) for number in range(500)]
    readings[250] = msgspec.structs.replace(readings[250], topic=None)
    with pytest.raises(DBAPIError) as caught:
        store(engine, readings)
    assert is_row_error(caught.value)
    with read_transaction(engine) as connection:
        assert not list(select_counts(connection, READINGS, START, START + HOUR, None))
    del readings[250]
    assert len(store(engine, readings)) == 499


def test_a_missing_table_is_no_error_of_a_row(engine: Engine) -> None:
    Base.metadata.drop_all(engine, tables=[data_table(READINGS)])
    with pytest.raises(DBAPIError) as caught:
        store(engine, [reading(1)])
    assert not is_row_error(caught.value)


def test_a_series_that_has_disappeared_is_created_again(engine: Engine) -> None:
    assert len(store(engine, [reading(1), reading(2, key="other")])) == 2
    assert len(store(engine, [reading(3), reading(4, key="other")])) == 2
    with engine.begin() as connection:
        # As after a failover to a server that lags behind, to which connections of a pooler lead without an error.
        connection.execute(SERIES.delete().where(SERIES.c.metric == "other"))
        connection.execute(data_table(READINGS).delete())
    later = [reading(5), reading(6, key="other")]
    if dialect_of(engine).resolves_series and columns.are_plain(data_table(READINGS)):
        with pytest.raises(TransientError) as caught:
            store(engine, later)
        assert not is_row_error(caught.value)
    assert len(store(engine, later)) == 2
    with read_transaction(engine) as connection:
        found = {each.key for each in select_known(connection, READINGS, later)}
    assert found == {"k", "other"}


def test_a_series_is_known_to_others_only_when_it_is_committed(engine: Engine) -> None:
    def store_count(count: int) -> None:
        with engine.begin() as connection:
            upsert_growing(connection, AGGREGATES, [aggregate(count)])

    with ThreadPoolExecutor() as threads:
        with engine.begin() as connection:
            for count in (1, 2):
                upsert_growing(connection, AGGREGATES, [aggregate(count)])
            other = threads.submit(store_count, 3)
            # It waits, or fails at once.
            wait([other], timeout=0.3)
        other.result()
    with read_transaction(engine) as connection:
        rows = select_aggregates(connection, AGGREGATES, ["host"], None, 60, 0, START + HOUR)
        assert [row.statistics.count for row in rows] == [3]


def test_series_are_created_although_the_database_has_lost_count_of_their_ids(engine: Engine) -> None:
    if engine.dialect.name != "postgresql":
        pytest.skip("ids come from no sequence that could be lost")
    assert len(store(engine, [reading(number, key=f"k{number}") for number in range(20)])) == 20
    with engine.begin() as connection:
        # As on a logical replica that is promoted.
        connection.execute(text("ALTER TABLE sparkle_series ALTER COLUMN id RESTART WITH 1"))
    later = [reading(number, key=f"other{number}") for number in range(20, 25)]
    if type(dialect_of(engine)).continue_keys is Dialect.continue_keys:
        # Nobody knows how to let it continue. No reading may become a dead letter.
        with pytest.raises(TransientError, match="restart the sequence above the maximum id") as caught:
            store(engine, later)
        assert not is_row_error(caught.value)
        return
    assert len(store(engine, later)) == 5


def test_a_trial_changes_nothing(engine: Engine) -> None:
    with engine.connect() as connection, connection.begin() as transaction:
        missing = try_writing(connection)
        transaction.rollback()
    assert not {"contract_readings_data", "contract_aggregates_data"} & set(missing)
    with read_transaction(engine) as connection:
        assert not list(select_counts(connection, READINGS, START, START + HOUR, None))
