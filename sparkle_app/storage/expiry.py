"""Statements that delete expired rows, a part at a time: each takes a fraction of a second."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Subquery, Table, func, select

from sparkle_app.model.retention import DAY, HOUR, READINGS
from sparkle_app.model.time import micros, span
from sparkle_app.storage.aggregates import buckets_within
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.models import SERIES
from sparkle_app.storage.readings import within
from sparkle_app.storage.statements import MAX_IN_LIST, chunks


def delete_readings(
    connection: Connection, table: Table, hostnames: Sequence[str], start: int, end: int
) -> int:
    """Delete readings of some hosts with ``start <= observed_at < end``; returns their number."""
    return _delete(connection, table, hostnames, READINGS, within(data_table(table), start, end))


def delete_buckets(
    connection: Connection, table: Table, hostnames: Sequence[str], resolution: int, start: int, end: int
) -> int:
    """Delete aggregates of some hosts with ``start <= bucket_start < end``; returns their number."""
    inside = buckets_within(data_table(table).c.bucket, resolution, start, end)
    return _delete(connection, table, hostnames, resolution, inside)


def first_reading(connection: Connection, table: Table, before: int, since: int = 0) -> int | None:
    """Event time of the earliest reading before a time, and not before another one; None if there is none."""
    data = data_table(table)
    found = _first(connection, table, data.c.observed_at, READINGS, within(data, since, before))
    return None if found is None else micros(found)


def first_bucket(
    connection: Connection, table: Table, resolution: int, before: int, since: int = 0
) -> int | None:
    """Start of the earliest aggregate of this resolution that begins in a time range; None if there is none."""
    bucket = data_table(table).c.bucket
    found = _first(connection, table, bucket, resolution, buckets_within(bucket, resolution, since, before))
    return None if found is None else int(found) * span(resolution)


def first_of_hosts(connection: Connection, table: Table, resolution: int, before: int) -> dict[str, int]:
    """The start of the earliest row of each host that has rows of this resolution before a time."""
    data = data_table(table)
    is_readings = resolution == READINGS
    column = data.c.observed_at if is_readings else data.c.bucket
    old = within(data, 0, before) if is_readings else buckets_within(column, resolution, 0, before)
    firsts = _firsts(table, column, resolution, old)
    earliest = func.min(firsts.c.at)
    found = connection.execute(select(firsts.c.hostname, earliest).group_by(firsts.c.hostname))
    return {
        name: micros(at) if is_readings else int(at) * span(resolution)
        for name, at in found
        if at is not None
    }


def named_hosts(connection: Connection) -> list[str]:
    """The hosts that have ever had rows, of any plugin."""
    return sorted(connection.execute(select(SERIES.c.hostname).distinct()).scalars())


def former_bucket_sizes(connection: Connection, bucket_size: int) -> list[int]:
    """The resolutions of aggregates other than the bucket size, hours and days.

    Hours and days that are not merged from the present buckets may be all that is left of years.
    """
    found = set(connection.execute(select(SERIES.c.resolution).distinct()).scalars())
    return sorted(found - {READINGS, bucket_size, HOUR, DAY})


def count_expired(connection: Connection, table: Table, resolution: int, before: int) -> int:
    """The number of rows that begin before a time."""
    data = data_table(table)
    is_readings = resolution == READINGS
    old = within(data, 0, before) if is_readings else buckets_within(data.c.bucket, resolution, 0, before)
    joined = data.join(SERIES, SERIES.c.id == data.c.series_id)
    statement = select(func.count()).select_from(joined).where(SERIES.c.resolution == resolution, *old)
    return int(connection.execute(statement).scalar_one())


def _delete(
    connection: Connection,
    table: Table,
    hostnames: Sequence[str],
    resolution: int,
    inside: Sequence[ColumnElement[bool]],
) -> int:
    data = data_table(table)
    # The ids are given as numbers: with a subquery, PostgreSQL may read the whole table.
    return sum(
        connection.execute(
            data.delete().where(data.c.series_id.in_(some), *inside),
            execution_options={"preserve_rowcount": True},
        ).rowcount
        for some in _series(connection, hostnames, resolution)
    )


def _series(connection: Connection, hostnames: Sequence[str], resolution: int) -> Iterator[Sequence[int]]:
    found: list[int] = []
    for some in chunks(hostnames, MAX_IN_LIST):
        statement = select(SERIES.c.id).where(SERIES.c.hostname.in_(some), SERIES.c.resolution == resolution)
        found += connection.execute(statement).scalars()
    yield from chunks(sorted(found), MAX_IN_LIST)


def _first(
    connection: Connection,
    table: Table,
    column: ColumnElement[object],
    resolution: int,
    inside: Sequence[ColumnElement[bool]],
) -> Any:
    return connection.execute(select(func.min(_firsts(table, column, resolution, inside).c.at))).scalar()


def _firsts(
    table: Table, column: ColumnElement[object], resolution: int, inside: Sequence[ColumnElement[bool]]
) -> Subquery:
    """The first of each series, by its index: none has all of them in order of time."""
    data = data_table(table)
    first = select(func.min(column)).where(data.c.series_id == SERIES.c.id, *inside).scalar_subquery()
    of_each = select(SERIES.c.hostname, first.label("at")).where(SERIES.c.resolution == resolution)
    return of_each.subquery()
