"""Statements for a :class:`ReadingsTable`, used by the default methods of plugins.

They read from the table and the names instead of the view, whose times are not the indexed columns on every database.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Table,
    func,
    literal,
    or_,
    select,
    union_all,
)

from sparkle_app.model.reading import Reading, StoredReading
from sparkle_app.model.retention import READINGS
from sparkle_app.model.time import micros, moment, span
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.models import SERIES, SOURCES
from sparkle_app.storage.names import create_sources, naming
from sparkle_app.storage.statements import MAX_IN_LIST, chunks

# Of a statement: SQLite allows 500.
_MAX_SELECTS = 50
_FIRST_SLICE = span(3600)
_GROWTH = 4


def insert_new(connection: Connection, table: Table, readings: Sequence[Reading]) -> set[bytes]:
    """Insert the readings whose id is not in the table; return the ids of those inserted."""
    if not readings:
        return set()
    data = data_table(table)
    dialect = dialect_of(connection)
    time, native_id = dialect.converters(data)
    of_source = [(each.config_id, each.topic, each.partition, each.clock_trusted) for each in readings]
    sources = create_sources(connection, set(of_source))
    names = {(each.hostname, each.key) for each in readings}
    with naming(connection, data, names, READINGS) as (series_column, series):
        rows = [
            {
                "id": native_id(reading.id),
                "observed_at": time(reading.observed_at),
                "received_at": time(reading.received_at),
                "offset": reading.offset,
                "value": reading.value,
                series_column: series[reading.hostname, reading.key],
                "source_id": sources[source],
            }
            for reading, source in zip(readings, of_source, strict=True)
        ]
        return dialect.insert_new(connection, data, rows)


def select_known(
    connection: Connection, table: Table, readings: Sequence[Reading]
) -> Iterator[StoredReading]:
    """The rows with the ids of these readings."""
    rows = whole_rows(table)
    for some in chunks([reading.id for reading in readings], MAX_IN_LIST):
        for row in connection.execute(select(rows).where(rows.c.id.in_(some))).mappings():
            yield _reading_of(row)


def select_ids(connection: Connection, table: Table, ids: Sequence[bytes]) -> set[bytes]:
    """Those of ``ids`` that are in the table."""
    id_ = data_table(table).c.id
    return {
        found
        for some in chunks(ids, MAX_IN_LIST)
        for found in connection.execute(select(id_).where(id_.in_(some))).scalars()
    }


def select_metrics(
    connection: Connection, table: Table, hostnames: Mapping[int, Collection[str]], bucket_size: int
) -> Iterator[tuple[str, int, str]]:
    """Hostname, event time of a reading, and name of each metric that hosts have in buckets.

    Arguments:
        hostnames: of some hosts, by the start of a bucket.
        bucket_size: in seconds.
    """
    rows = named_rows(table)
    at = rows.c.observed_at
    bucket = dialect_of(connection).bucket_number(at, bucket_size)
    for some in chunks(list(hostnames.items()), _MAX_SELECTS):
        selects = (
            select(rows.c.hostname, func.min(at), rows.c.metric)
            .where(rows.c.hostname.in_(names), *within(rows, start, start + span(bucket_size)))
            .group_by(rows.c.hostname, rows.c.metric, bucket)
            for start, names in some
        )
        for hostname, first, metric in connection.execute(union_all(*selects)):
            yield hostname, micros(first), metric


def select_span(
    connection: Connection, table: Table, hostnames: Sequence[str], start: int, end: int, limit: int | None
) -> Iterator[StoredReading]:
    """Readings of some hosts with ``start <= observed_at < end``, ordered by event time."""
    rows = whole_rows(table)
    for some in chunks(hostnames):
        statement = (
            select(rows)
            .where(rows.c.hostname.in_(some), *within(rows, start, end))
            .order_by(rows.c.observed_at, rows.c.id)
            .limit(limit)
        )
        for row in connection.execute(statement).mappings():
            yield _reading_of(row)


def select_page(
    connection: Connection,
    table: Table,
    hostname: str,
    start: int,
    end: int,
    limit: int,
    after: tuple[int, bytes] | None,
    metrics: Collection[str] | None = None,
) -> Iterator[StoredReading]:
    """The first readings of a host with ``start <= observed_at < end``, ordered by event time and id.

    Arguments:
        after: only readings after the one with this event time and id.
        metrics: only these, some hundreds at most.
    """
    rows = whole_rows(table)
    time, id_ = rows.c.observed_at, rows.c.id
    statement = select(rows).where(rows.c.hostname == hostname).order_by(time, id_)
    if metrics is not None:
        statement = statement.where(rows.c.metric.in_(metrics))
    if after:
        start = max(start, after[0])
        later = or_(time > moment(after[0]), id_ > literal(after[1], id_.type))
        statement = statement.where(later)
    for since, until in _slices(connection, table, hostname, start, end):
        found = connection.execute(statement.where(*within(rows, since, until)).limit(limit)).mappings()
        for row in found:
            limit -= 1
            yield _reading_of(row)
        if limit == 0:
            return


def select_counts(
    connection: Connection, table: Table, start: int, end: int, hostname: str | None
) -> Iterator[tuple[str, int]]:
    """The number of readings with ``start <= observed_at < end`` of each host that has any, or of one host."""
    rows = named_rows(table)
    statement = (
        select(rows.c.hostname, func.count()).where(*within(rows, start, end)).group_by(rows.c.hostname)
    )
    if hostname is not None:
        statement = statement.where(rows.c.hostname == hostname)
    for name, count in connection.execute(statement):
        yield name, int(count)


def select_nth_time(
    connection: Connection, table: Table, hostname: str, start: int, end: int, number: int
) -> int:
    """Event time of a host's reading after the first ``number`` since ``start``; ``end`` if there is none."""
    rows = named_rows(table)
    time = rows.c.observed_at
    for since, until in _slices(connection, table, hostname, start, end):
        inside = (rows.c.hostname == hostname, *within(rows, since, until))
        count = connection.execute(select(func.count()).select_from(rows).where(*inside)).scalar_one()
        if number < count:
            statement = select(time).where(*inside).order_by(time).offset(number).limit(1)
            return micros(connection.execute(statement).scalar_one())
        number -= count
    return end


def within(rows: FromClause, start: int, end: int) -> tuple[ColumnElement[bool], ...]:
    """``start <= observed_at < end``."""
    return rows.c.observed_at >= moment(start), rows.c.observed_at < moment(end)


@cache
def named_rows(table: Table) -> FromClause:
    """The rows of a readings table with ``hostname`` and ``metric``."""
    data = data_table(table)
    series = (SERIES.c.id == data.c.series_id) & (SERIES.c.resolution == READINGS)
    return select(data, SERIES.c.hostname, SERIES.c.metric).select_from(data.join(SERIES, series)).subquery()


@cache
def whole_rows(table: Table) -> FromClause:
    """The rows of a readings table with the columns of its model."""
    rows = named_rows(table)
    source = (SOURCES.c[name] for name in ("config_id", "topic", "partition", "clock_trusted"))
    return select(rows, *source).select_from(rows.join(SOURCES, SOURCES.c.id == rows.c.source_id)).subquery()


def _slices(
    connection: Connection, table: Table, hostname: str, start: int, end: int
) -> Iterator[tuple[int, int]]:
    """Parts of a time range, in order, that together have all readings of a host; the first ones are short.

    The index has the readings of each metric in order of time: those of the host have to be sorted.
    """
    data = data_table(table)
    width = _FIRST_SLICE
    while start < end:
        earliest = (
            select(func.min(data.c.observed_at))
            .where(data.c.series_id == SERIES.c.id, *within(data, start, end))
            .scalar_subquery()
        )
        of_host = (SERIES.c.hostname == hostname, SERIES.c.resolution == READINGS)
        first = connection.execute(
            select(func.min(select(earliest.label("at")).where(*of_host).subquery().c.at))
        )
        found = first.scalar()
        if found is None:
            return
        start = micros(found)
        yield start, min(start + width, end)
        start += width
        width *= _GROWTH


def _reading_of(row: Any) -> StoredReading:
    return StoredReading(
        id=row["id"],
        config_id=row["config_id"],
        hostname=row["hostname"],
        key=row["metric"],
        value=row["value"],
        observed_at=micros(row["observed_at"]),
        received_at=micros(row["received_at"]),
        clock_trusted=row["clock_trusted"],
        topic=row["topic"],
        partition=row["partition"],
        offset=row["offset"],
    )
