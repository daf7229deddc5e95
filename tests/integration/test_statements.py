"""Aggregation in SQL equals that in Python, and bulk statements store what ordinary ones store."""

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from sqlalchemy import JSON, Column, Engine, MetaData, String, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.time import EARLIEST, LATEST, micros
from sparkle_app.plugin_api import AggregatesTable, Base, Plugin, Reading, ReadingsTable, StoredReading
from sparkle_app.storage import columns
from sparkle_app.storage.aggregates import upsert_growing
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.models import tables_of
from sparkle_app.storage.readings import insert_new
from tests.support.database import EVERY_DATABASE

START = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()) * 1_000_000
HOUR = 3_600_000_000


class Readings(ReadingsTable):
    __tablename__ = "compared_readings"


class Aggregates(AggregatesTable):
    __tablename__ = "compared_aggregates"


class Fast(Plugin):
    DataFrame = Readings
    Aggregates = Aggregates


class Plain(Fast):
    """Overrides a method, so that aggregates are computed in Python."""

    def numeric_value(self, reading: StoredReading) -> float | None:
        return super().numeric_value(reading)


@EVERY_DATABASE
@pytest.mark.parametrize("resolution", [1, 60, 3600])
def test_aggregation_in_sql_equals_aggregation_in_python(database_url: str, resolution: int) -> None:
    chance = random.Random(resolution)
    engine = make_engine(make_url(database_url))
    Base.metadata.create_all(engine, tables=tables_of(Readings))
    readings = [
        Reading(
            id=number.to_bytes(16),
            config_id=1,
            hostname=f"host-{number % 3}",
            plugin="Fast",
            key=f"k{number % 2}",
            value=chance.choice((-1.5, 0.0, 20.25, 1e9)),
            # Some have the same event time, and some are at the bounds of a bucket.
            observed_at=START
            + chance.choice((0, 59_999_999, 60_000_000, 3_599_999_999, chance.randrange(2 * HOUR))),
            received_at=START,
            clock_trusted=True,
            topic="t",
            partition=0,
            offset=number,
        )
        for number in range(2000)
    ]
    with engine.begin() as connection:
        Fast().store_readings(connection, readings)
    scope = (["host-0", "host-2"], resolution, START, START + HOUR)
    with engine.connect() as connection:
        fast = sorted(Fast().compute_aggregates(connection, *scope), key=repr_of)
        plain = sorted(Plain().compute_aggregates(connection, *scope), key=repr_of)
        last = Fast().event_time_after(connection, "host-1", START, START + 2 * HOUR, 10)
        assert Fast().event_time_after(connection, "host-1", START, START + HOUR, 5000) == START + HOUR
        counts = dict(Fast().count_readings(connection, START, START + 2 * HOUR))
        (one,) = Fast().count_readings(connection, START, START + 2 * HOUR, "host-1")
        assert counts == dict(Counter(each.hostname for each in readings))
        assert one == ("host-1", counts["host-1"])
    engine.dispose()
    assert [rounded(row) for row in fast] == [rounded(row) for row in plain]
    assert {row.hostname for row in plain} == {"host-0", "host-2"}
    times = sorted(each.observed_at for each in readings if each.hostname == "host-1")
    assert last == times[10]


def repr_of(row: AggregateRow) -> str:
    return f"{row.hostname} {row.metric} {row.bucket_start}"


def rounded(row: AggregateRow) -> str:
    # The order in which floating-point numbers are added is not defined.
    return str(row).replace(str(row.statistics.sum), f"{row.statistics.sum:.3f}")


TEXTS = (
    "plain",
    "two words",
    "it's",
    'a "quoted" one',
    "back\\slash",
    "line\nand\ttab",
    "{}",
    "NULL",
    "",
    "температура",
    "🌡",
)
NUMBERS = (0.1, 0.0, 1e-308, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1 / 3, 36.6)
INFINITE = (math.inf, -math.inf)
TIMES = (0, 1, -1, 1_764_000_000_123_456, -62_135_596_800_000_000, 253_402_300_799_999_999)
"""The epoch, a microsecond after and before it, a common time, and the bounds of datetime."""


def numbers_of(engine: Engine) -> tuple[float, ...]:
    """Those that the database stores."""
    return NUMBERS if engine.dialect.name == "mysql" else (*NUMBERS, *INFINITE)


def odd_readings(number: int, numbers: Sequence[float] = NUMBERS) -> list[Reading]:
    chance = random.Random(7)
    return [
        Reading(
            id=chance.randbytes(16),
            config_id=chance.choice((0, 1, 2**63 - 1, -(2**63))),
            hostname=chance.choice(TEXTS),
            plugin="Fast",
            key=chance.choice(TEXTS),
            value=chance.choice(numbers),
            observed_at=chance.choice(TIMES),
            received_at=chance.choice(TIMES),
            clock_trusted=chance.random() < 0.5,
            topic="t",
            partition=3,
            offset=2**40 + index,
        )
        for index in range(number)
    ]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(make_url(database_url))
    Base.metadata.create_all(engine, tables=tables_of(Readings, Aggregates))
    yield engine
    engine.dispose()


def stored(
    engine: Engine, table: Any, monkeypatch: pytest.MonkeyPatch, in_bulk: bool, store: Any
) -> list[Any]:
    """The result of ``store``, and the rows of the table after it: as text from the database, and as Python values."""
    if not in_bulk:
        monkeypatch.setattr(columns, "are_plain", lambda _table: False)
    quoted = engine.dialect.identifier_preparer.quote_identifier
    # Ids are no text.
    as_text = {"mysql": "HEX(CONCAT({}))", "sqlite": "quote({})"}.get(engine.dialect.name, "CAST({} AS TEXT)")
    table = data_table(table)
    with engine.begin() as connection:
        connection.execute(table.delete())
        returned = store(connection)
        texts = ", ".join(as_text.format(quoted(column.name)) for column in table.c)
        rows = connection.execute(text(f"SELECT {texts} FROM {table.name} ORDER BY 1, 2, 3, 4"))
        found = [returned, *map(tuple, rows)]
        exact = connection.execute(select(table).order_by(*table.primary_key)).all()
    monkeypatch.undo()
    return [*found, *exact]


@EVERY_DATABASE
def test_bulk_and_ordinary_inserts_of_readings_store_the_same_rows(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Readings.__table__
    readings = odd_readings(300, numbers_of(engine))
    assert columns.are_plain(data_table(table))

    def store(connection: Any) -> Any:
        first = insert_new(connection, table, readings[:200])
        return first, insert_new(connection, table, readings[100:])

    in_bulk = stored(engine, table, monkeypatch, True, store)
    assert in_bulk == stored(engine, table, monkeypatch, False, store)
    assert in_bulk[0] == ({each.id for each in readings[:200]}, {each.id for each in readings[200:]})
    assert len(in_bulk) == 1 + 2 * len(readings)


@EVERY_DATABASE
def test_bulk_and_ordinary_upserts_of_aggregates_store_the_same_rows(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Aggregates.__table__
    chance = random.Random(8)

    def some_statistics(count: int) -> Statistics:
        minimum, maximum, last = chance.choices(numbers_of(engine), k=3)
        total = chance.choice((*NUMBERS, *INFINITE))
        return Statistics(count, total, minimum, maximum, last, chance.choice(TIMES))

    def rows(count: int) -> list[AggregateRow]:
        return [
            AggregateRow(hostname, metric, 60, at, some_statistics(count))
            for hostname in TEXTS
            for metric in TEXTS
            for at in (0, 60_000_000)
        ]

    first, fewer, more = rows(5), rows(4), rows(6)

    def store(connection: Any) -> None:
        for some in (first, fewer, more[:20]):
            upsert_growing(connection, table, some)

    in_bulk = stored(engine, table, monkeypatch, True, store)
    assert in_bulk == stored(engine, table, monkeypatch, False, store)
    assert len(in_bulk) == 1 + 2 * len(first)
    assert sum(row.count for row in in_bulk[1 + len(first) :]) == 6 * 20 + 5 * (len(first) - 20)


@EVERY_DATABASE
def test_a_bulk_insert_raises_the_error_of_a_rejected_row(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite does not limit the length of strings")
    (reading,) = odd_readings(1)
    with pytest.raises(DBAPIError, match="too long"), engine.begin() as connection:
        insert_new(connection, Readings.__table__, [_with_key(reading, "k" * 256)])


def _with_key(reading: Reading, key: str) -> Reading:
    return msgspec.structs.replace(reading, key=key)


def test_tables_with_additional_columns_do_not_use_bulk_statements() -> None:
    plain = data_table(Readings.__table__)
    for extra in (Column("rack", String(10), default=lambda: "r"), Column("more", JSON)):
        table = plain.to_metadata(MetaData(), name=f"other_{extra.name}")
        table.append_column(extra)
        assert not columns.are_plain(table)
    assert columns.are_plain(plain)


@EVERY_DATABASE
@pytest.mark.parametrize("size", [1, 60, 3600, 86_400])
def test_each_time_belongs_to_the_bucket_that_python_computes(engine: Engine, size: int) -> None:
    chance = random.Random(size)
    starts = [chance.randrange(EARLIEST // 1_000_000, LATEST // 1_000_000, 86_400) for _ in range(300)]
    times = [
        start * 1_000_000 + offset for start in starts for offset in (0, 1, -1, chance.randrange(10**12))
    ]
    (reading,) = odd_readings(1)
    readings = [
        msgspec.structs.replace(reading, id=number.to_bytes(16), observed_at=at)
        for number, at in enumerate(times)
    ]
    data = data_table(Readings.__table__)
    with engine.begin() as connection:
        insert_new(connection, Readings.__table__, readings)
        bucket = dialect_of(connection).bucket_number(data.c.observed_at, size)
        found = {micros(at): number for at, number in connection.execute(select(data.c.observed_at, bucket))}
    assert found == {at: at // (size * 1_000_000) for at in times}
