"""Statements for a :class:`ReadingsTable`, used by the default methods of plugins."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, func, literal, or_, select

from sparkle_app.model.reading import Reading, StoredReading
from sparkle_app.model.time import micros, moment, span
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.statements import chunks

# Of a statement: SQLite allows a depth of 1,000.
_MAX_CONDITIONS = 50


def insert_new(connection: Connection, table: Table, readings: Sequence[Reading]) -> set[bytes]:
    """Insert the readings whose id is not in the table; return the ids of those inserted."""
    if not readings:
        return set()
    dialect = dialect_of(connection)
    time, native_id = dialect.converters(table)
    rows = [
        {
            "id": native_id(reading.id),
            "config_id": reading.config_id,
            "hostname": reading.hostname,
            "metric": reading.key,
            "value": reading.value,
            "observed_at": time(reading.observed_at),
            "received_at": time(reading.received_at),
            "clock_trusted": reading.clock_trusted,
            "topic": reading.topic,
            "partition": reading.partition,
            "offset": reading.offset,
        }
        for reading in readings
    ]
    return dialect.insert_new(connection, table, rows)


def select_known(
    connection: Connection, table: Table, readings: Sequence[Reading]
) -> Iterator[StoredReading]:
    """The rows with the ids of these readings."""
    for some in chunks([reading.id for reading in readings]):
        for row in connection.execute(select(table).where(table.c.id.in_(some))).mappings():
            yield _reading_of(row)


def select_ids(connection: Connection, table: Table, ids: Sequence[bytes]) -> set[bytes]:
    """Those of ``ids`` that are in the table."""
    return {
        id_
        for some in chunks(ids)
        for id_ in connection.execute(select(table.c.id).where(table.c.id.in_(some))).scalars()
    }


def select_metrics(
    connection: Connection, table: Table, hostnames: Mapping[int, Collection[str]], bucket_size: int
) -> Iterator[tuple[str, int, str]]:
    """Hostname, event time of a reading, and name of each metric that hosts have in buckets.

    Arguments:
        hostnames: of some hosts, by the start of a bucket.
        bucket_size: in seconds.
    """
    at = table.c.observed_at
    bucket = dialect_of(connection).bucket_number(at, bucket_size)
    for some in chunks(list(hostnames.items()), _MAX_CONDITIONS):
        conditions = [
            and_(table.c.hostname.in_(names), *within(table, start, start + span(bucket_size)))
            for start, names in some
        ]
        statement = (
            select(table.c.hostname, func.min(at), table.c.metric)
            .where(or_(*conditions))
            .group_by(table.c.hostname, table.c.metric, bucket)
        )
        for hostname, first, metric in connection.execute(statement):
            yield hostname, micros(first), metric


def select_span(
    connection: Connection, table: Table, hostnames: Sequence[str], start: int, end: int, limit: int | None
) -> Iterator[StoredReading]:
    """Readings of some hosts with ``start <= observed_at < end``, ordered by event time."""
    for some in chunks(hostnames):
        statement = (
            select(table)
            .where(table.c.hostname.in_(some), *within(table, start, end))
            .order_by(table.c.observed_at, table.c.id)
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
    metric: str | None = None,
) -> Iterator[StoredReading]:
    """The first readings of a host with ``start <= observed_at < end``, ordered by event time and id.

    Arguments:
        after: only readings after the one with this event time and id.
        metric: only this metric.
    """
    time, id_ = table.c.observed_at, table.c.id
    statement = select(table).where(table.c.hostname == hostname, *within(table, start, end))
    if metric is not None:
        statement = statement.where(table.c.metric == metric)
    if after:
        # The first condition is for the index on event time.
        statement = statement.where(
            time >= moment(after[0]), or_(time > moment(after[0]), id_ > literal(after[1], id_.type))
        )
    for row in connection.execute(statement.order_by(time, id_).limit(limit)).mappings():
        yield _reading_of(row)


def select_counts(
    connection: Connection, table: Table, start: int, end: int, hostname: str | None
) -> Iterator[tuple[str, int]]:
    """The number of readings with ``start <= observed_at < end`` of each host that has any, or of one host."""
    statement = (
        select(table.c.hostname, func.count()).where(*within(table, start, end)).group_by(table.c.hostname)
    )
    if hostname is not None:
        statement = statement.where(table.c.hostname == hostname)
    for hostname, count in connection.execute(statement):
        yield hostname, int(count)


def select_nth_time(
    connection: Connection, table: Table, hostname: str, start: int, end: int, number: int
) -> int:
    """Event time of a host's reading after the first ``number`` since ``start``; ``end`` if there is none."""
    statement = (
        select(table.c.observed_at)
        .where(table.c.hostname == hostname, *within(table, start, end))
        .order_by(table.c.observed_at)
        .offset(number)
        .limit(1)
    )
    found = connection.execute(statement).scalar()
    return end if found is None else micros(found)


def within(table: Table, start: int, end: int) -> tuple[ColumnElement[bool], ...]:
    """``start <= observed_at < end``."""
    return table.c.observed_at >= moment(start), table.c.observed_at < moment(end)


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
