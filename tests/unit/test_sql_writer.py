"""Stored readings and aggregates in SQLite; tests/integration runs similar tests on PostgreSQL."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import psycopg.errors
import psycopg2.errors
import pytest
from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from sparkle_app.ingest.sql_writer import Refusal, SqlWriter
from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.errors import Reason, TransientError
from sparkle_app.model.record import Outcome, Record
from sparkle_app.model.retention import READINGS
from sparkle_app.model.time import from_seconds
from sparkle_app.plugin_api import (
    AggregatesTable,
    Base,
    InvalidValue,
    Plugin,
    Reading,
    ReadingsTable,
    StoredReading,
)
from sparkle_app.storage.engine import make_engine, read_transaction
from sparkle_app.storage.errors import is_row_error
from sparkle_app.storage.retention import advance


class DataFrame(ReadingsTable):
    __tablename__ = "stored_readings"


class Aggregates(AggregatesTable):
    __tablename__ = "stored_aggregates"


class Plain(Plugin):
    unit = "°C"
    minimum, maximum = -100.0, 250.0
    DataFrame = DataFrame
    Aggregates = Aggregates


class Rejecting(Plain):
    """Its database rejects the value 13."""

    def store_readings(self, connection: Connection, readings: Sequence[Reading]) -> Sequence[StoredReading]:
        if any(each.value == 13 for each in readings):
            connection.execute(text("INSERT INTO stored_readings_data (id) VALUES (NULL)"))
        return super().store_readings(connection, readings)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = make_engine(make_url(f"sqlite:///{tmp_path}/new folder/db.sqlite3"))
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def a_reading(number: int, **changes: Any) -> Reading:
    plain = Reading(
        id=number.to_bytes(16),
        config_id=1,
        hostname=f"host-{number % 3}",
        plugin="Plain",
        key="core",
        value=float(number),
        observed_at=1_700_000_000_000_000 + number,
        received_at=1_700_000_000_500_000,
        clock_trusted=True,
        topic="telemetry",
        partition=2,
        offset=number,
    )
    return msgspec.structs.replace(plain, **changes)


def store(
    engine: Engine, plugin: Plugin, readings: list[Reading]
) -> tuple[list[StoredReading], list[Refusal]]:
    record = Record("telemetry", 2, 0, 0, b"")
    outcomes = [Outcome(record, [reading], []) for reading in readings]
    with ThreadPoolExecutor() as executor:
        stored, refused, expired = asyncio.run(
            SqlWriter(engine, {"Plain": plugin}, executor, 2000, 60, time.time).store(outcomes)
        )
    assert set(stored) <= {"Plain"}
    assert expired == []
    assert all(refusal.reading in refusal.outcome.readings for refusal in refused)
    return stored.get("Plain", []), refused


def count(engine: Engine) -> int:
    with read_transaction(engine) as connection:
        return connection.execute(select(func.count()).select_from(DataFrame)).scalar_one()


def test_loaded_readings_equal_stored_readings(engine: Engine) -> None:
    readings = [a_reading(number) for number in range(2500)]
    stored, refused = store(engine, Plain(), readings)
    assert refused == []
    assert sorted(each.id for each in stored) == sorted(each.id for each in readings)
    with read_transaction(engine) as connection:
        loaded = list(
            Plain().load_readings(connection, ["host-1"], readings[0].observed_at, readings[1000].observed_at)
        )
    assert loaded == [each.as_stored() for each in readings[1:1000:3]]


def test_a_duplicate_is_stored_once_and_returned_as_first_stored(engine: Engine) -> None:
    store(engine, Plain(), [a_reading(1), a_reading(2)])
    replayed = a_reading(1, observed_at=5, received_at=6, value=99.0, offset=1000)
    stored, refused = store(engine, Plain(), [replayed, a_reading(3), a_reading(3, offset=1001)])
    assert refused == []
    assert sorted(stored, key=lambda each: each.id) == [a_reading(1).as_stored(), a_reading(3).as_stored()]
    assert count(engine) == 3


def test_one_rejected_row_does_not_affect_499_others(engine: Engine) -> None:
    stored, refused = store(engine, Rejecting(), [a_reading(number) for number in range(500)])
    assert len(stored) == 499
    assert [(each.reading.value, each.error.reason) for each in refused] == [
        (13.0, Reason.REFUSED_BY_DATABASE)
    ]
    assert count(engine) == 499


def test_a_missing_table_raises_transient_error(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE stored_readings_data"))
    with pytest.raises(TransientError, match="no such table: stored_readings_data"):
        store(engine, Plain(), [a_reading(1)])


@pytest.mark.parametrize(
    ("states", "is_rejected"),
    [
        (["54000", "22P02", "42804", "P0001", "25P02"], True),
        (["53100", "55P03", "57P01", "58030", "40P01", "XX001", "25006", "42501", "42P01", "42703"], False),
    ],
)
def test_sqlstate_decides_whether_a_row_is_rejected_or_retried(states: list[str], is_rejected: bool) -> None:
    for state in states:
        error = psycopg2.errors.lookup(state)()
        # As the driver sets it for an error of the server.
        error.__setstate__({"pgcode": state})
        for each in (error, psycopg.errors.lookup(state)()):
            assert is_row_error(DBAPIError("INSERT", {}, each)) is is_rejected, state


def test_a_transaction_is_all_or_nothing(engine: Engine) -> None:
    class Failing(Plain):
        def store_readings(
            self, connection: Connection, readings: Sequence[Reading]
        ) -> Sequence[StoredReading]:
            super().store_readings(connection, readings)
            raise ConnectionResetError("before the commit")

    with pytest.raises(TransientError, match="plugin Plain: ConnectionResetError at "):
        store(engine, Failing(), [a_reading(1)])
    assert count(engine) == 0


class Telling(Plain):
    """It tells another system of new readings, which fails for the value 13."""

    error: BaseException

    def on_inserted(self, connection: Connection, readings: Sequence[Reading]) -> None:
        if any(each.value == 13 for each in readings):
            raise self.error


def test_a_file_or_server_that_a_plugin_misses_is_retried_and_named(engine: Engine) -> None:
    plugin = Telling()
    plugin.error = FileNotFoundError(2, "secret", "secret")
    with pytest.raises(TransientError) as caught:
        store(engine, plugin, [a_reading(number) for number in range(20)])
    assert str(caught.value).startswith(f"plugin Plain: FileNotFoundError at {__file__}:")
    assert "secret" not in str(caught.value)
    assert count(engine) == 0


@pytest.mark.parametrize("error", [KeyError("secret"), SystemExit("secret")])
def test_an_exception_of_a_plugin_refuses_only_its_reading(engine: Engine, error: BaseException) -> None:
    plugin = Telling()
    plugin.error = error
    stored, refused = store(engine, plugin, [a_reading(number) for number in range(20)])
    assert len(stored) == count(engine) == 19
    ((_, reading, rejected),) = refused
    assert (reading.value, rejected.reason) == (13.0, Reason.REFUSED_BY_DATABASE)
    assert rejected.detail.startswith(
        f"store_readings or on_inserted of Plain raised {type(error).__name__} at {__file__}:"
    )
    assert "secret" not in rejected.detail


@pytest.mark.parametrize(("result", "found"), [({"value": 1}, "dict"), (None, "NoneType")])
def test_what_a_plugin_returns_instead_of_a_stored_reading_is_refused(
    engine: Engine, result: Any, found: str
) -> None:
    class Wrong(Plain):
        def store_readings(self, connection: Connection, readings: Sequence[Reading]) -> Any:
            return [result if each.value == 13 else each.as_stored() for each in readings]

    stored, refused = store(engine, Wrong(), [a_reading(number) for number in range(20)])
    assert len(stored) == 19
    assert [(each.reading.value, each.error.detail) for each in refused] == [
        (13.0, f"expected store_readings of Plain to return StoredReading objects, found {found}")
    ]


def test_a_plugin_may_return_the_readings_that_it_was_given(engine: Engine) -> None:
    class Same(Plain):
        def store_readings(self, connection: Connection, readings: Sequence[Reading]) -> Any:
            return readings

    (stored,), refused = store(engine, Same(), [a_reading(1)])
    assert (stored.id, refused) == (a_reading(1).id, [])


def test_an_aggregate_is_never_replaced_by_one_that_counts_fewer_readings(engine: Engine) -> None:
    def upsert(count: int, total: float) -> list[AggregateRow]:
        statistics = Statistics(count, total, 1.0, 9.0, 5.0, 1_700_000_000_000_001)
        row = AggregateRow("host", "core", 60, 1_699_999_980_000_000, statistics)
        with engine.begin() as connection:
            Plain().store_aggregates(connection, [row])
        with read_transaction(engine) as connection:
            return list(Plain().load_aggregates(connection, ["host"], None, 60, 0, 1_800_000_000_000_000))

    assert [row.statistics.count for row in upsert(2, 10.0)] == [2]
    assert [(row.statistics.count, row.statistics.sum) for row in upsert(3, 15.0)] == [(3, 15.0)]
    late = upsert(1, 4.0)
    assert [(row.statistics.count, row.statistics.sum) for row in late] == [(3, 15.0)]
    assert late[0].bucket_start == 1_699_999_980_000_000
    assert late[0].statistics.last_at == 1_700_000_000_000_001


def test_a_writer_does_not_block_a_reader(engine: Engine) -> None:
    with engine.begin() as writer:
        Plain().store_readings(writer, [a_reading(1)])
        assert count(engine) == 0
    assert count(engine) == 1


@pytest.mark.parametrize(
    "value", [True, "5", None, [1], {}, float("nan"), float("inf"), 10**400, -(10**400), 251, -101]
)
def test_anything_but_a_number_in_range_is_invalid(value: Any) -> None:
    with pytest.raises(InvalidValue, match="expected"):
        Plain().validate("core", value)


@pytest.mark.parametrize("value", [0, -100, 250, 41.5, -0.0])
def test_a_number_in_range_is_valid(value: float) -> None:
    assert Plain().validate("core", value) == value


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 10**400])
def test_a_plugin_without_bounds_rejects_numbers_that_are_not_finite(value: Any) -> None:
    class Unbounded(Plain):
        minimum, maximum = Plugin.minimum, Plugin.maximum

    with pytest.raises(InvalidValue, match="expected a finite number"):
        Unbounded().validate("core", value)


def test_an_error_of_the_database_does_not_quote_values(engine: Engine) -> None:
    with pytest.raises(DBAPIError) as caught, engine.begin() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:value)"), {"value": "secret"})
    assert "no such table: nowhere" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_watermarks_in_the_future_drop_nothing(engine: Engine) -> None:
    """One of two clocks is wrong: the batch is retried until they are corrected."""
    plugin = Plain()
    reading = a_reading(1)
    store(engine, plugin, [reading])
    advance(engine, "Plain", READINGS, kept_since=from_seconds(time.time() + 86_400))
    with pytest.raises(TransientError, match="correct the clock of this machine"):
        store(engine, plugin, [a_reading(2)])
    assert count(engine) == 1
