"""Writes and reads the rows of an :class:`AggregatesTable`, used by the default methods of plugins."""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, FromClause, Table, case, func, literal, select

from sparkle_app.model.buckets import LARGE, SCALE, AggregateRow, Statistics
from sparkle_app.model.time import micros, span
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.dialects.base import Dialect
from sparkle_app.storage.models import SERIES
from sparkle_app.storage.names import find_series, naming
from sparkle_app.storage.statements import chunks

COLUMNS = ("hostname", "metric", "bucket", "count", "sum", "minimum", "maximum", "last", "last_at")
"""Of an aggregate, with the names of its series."""


def upsert_growing(connection: Connection, table: Table, rows: Sequence[AggregateRow]) -> None:
    """Upsert whole aggregates; a row that counts fewer readings than the stored one is ignored.

    A bucket only gains readings, so the larger count is the newer value: the late write of a suspended worker is
    harmless.
    """
    if not rows:
        return
    dialect = dialect_of(connection)
    data = data_table(table)
    time, _ = dialect.converters(data)
    infinity = dialect.infinity
    for resolution, some in _by_resolution(rows).items():
        size = span(resolution)
        names = {(row.hostname, row.metric) for row in some}
        with naming(connection, data, names, resolution) as (series_column, series):
            values = [
                {
                    series_column: series[row.hostname, row.metric],
                    "bucket": row.bucket_start // size,
                    "count": row.statistics.count,
                    "sum": max(-infinity, min(row.statistics.sum, infinity)),
                    "minimum": row.statistics.minimum,
                    "maximum": row.statistics.maximum,
                    "last": row.statistics.last,
                    "last_at": time(row.statistics.last_at),
                }
                for row in some
            ]
            dialect.upsert_growing(connection, data, values)


def select_aggregates(
    connection: Connection,
    table: Table,
    hostnames: Sequence[str],
    metric: str | None,
    resolution: int,
    start: int,
    end: int,
) -> Iterator[AggregateRow]:
    """Aggregates of some hosts with ``start <= bucket_start < end``, ordered by time."""
    rows = named_aggregates(table)
    for some in chunks(hostnames):
        statement = (
            select(*(rows.c[name] for name in COLUMNS))
            .where(rows.c.hostname.in_(some), *starting_within(rows, resolution, start, end))
            .order_by(rows.c.bucket, rows.c.metric)
        )
        if metric is not None:
            statement = statement.where(rows.c.metric == metric)
        for row in connection.execute(statement):
            yield aggregate_of(row, resolution, dialect_of(connection))


def delete_aggregates(
    connection: Connection, table: Table, resolution: int, keys: Sequence[tuple[str, int, str]]
) -> None:
    """Delete aggregates by hostname, bucket start and metric."""
    series = find_series(connection, {(hostname, metric) for hostname, _, metric in keys}, resolution)
    rows = [
        {"series_id": series[hostname, metric], "bucket": start // span(resolution)}
        for hostname, start, metric in keys
        if (hostname, metric) in series
    ]
    dialect_of(connection).delete_rows(connection, data_table(table), rows)


def select_bucket_counts(
    connection: Connection, table: Table, resolution: int, start: int, end: int, hostname: str | None
) -> Iterator[tuple[str, int, int]]:
    """Hostname, start and reading count of each bucket with ``start <= bucket_start < end``, optionally of one host."""
    rows = named_aggregates(table)
    statement = (
        select(rows.c.hostname, rows.c.bucket, func.sum(rows.c["count"]))
        .where(*starting_within(rows, resolution, start, end))
        .group_by(rows.c.hostname, rows.c.bucket)
    )
    if hostname is not None:
        statement = statement.where(rows.c.hostname == hostname)
    for name, number, count in connection.execute(statement):
        yield name, number * span(resolution), int(count)


def starting_within(
    rows: FromClause, resolution: int, start: int, end: int
) -> tuple[ColumnElement[bool], ...]:
    """``start <= bucket_start < end``, of aggregates of this resolution."""
    return rows.c.resolution == resolution, *buckets_within(rows.c.bucket, resolution, start, end)


def buckets_within(
    bucket: ColumnElement[int], resolution: int, start: int, end: int
) -> tuple[ColumnElement[bool], ...]:
    """``start <= bucket_start < end``, of numbers of buckets of this resolution."""
    size = span(resolution)
    # The end of a long step may be beyond the numbers that the column holds.
    first, stop = (literal(-(-at // size), BigInteger) for at in (start, end))
    return bucket >= first, bucket < stop


@cache
def named_aggregates(table: Table) -> FromClause:
    """The rows of an aggregates table with ``hostname``, ``metric`` and ``resolution``."""
    data = data_table(table)
    joined = data.join(SERIES, SERIES.c.id == data.c.series_id)
    return (
        select(data, SERIES.c.hostname, SERIES.c.metric, SERIES.c.resolution).select_from(joined).subquery()
    )


def split_sum(value: ColumnElement[Any]) -> tuple[ColumnElement[float], ColumnElement[float]]:
    """``sum`` and ``large_sum`` of :class:`Statistics`: PostgreSQL refuses a sum beyond the range of a double."""
    is_large = func.abs(value) >= LARGE
    return (
        func.sum(case((is_large, 0.0), else_=value)),
        func.sum(case((is_large, value * SCALE), else_=0.0)),
    )


def aggregate_of(row: Any, resolution: int, dialect: Dialect) -> AggregateRow:
    """From a row of :data:`COLUMNS`."""
    hostname, metric, bucket, count, total, minimum, maximum, last, last_at = row
    total = sum_of(total, dialect)
    statistics = Statistics(int(count), total, minimum, maximum, last, micros(last_at))
    return AggregateRow(hostname, metric, resolution, int(bucket) * span(resolution), statistics)


def sum_of(stored: float, dialect: Dialect) -> float:
    """From a stored sum: a number may stand for an infinite one."""
    return math.copysign(math.inf, stored) if abs(stored) >= dialect.infinity else stored


def _by_resolution(rows: Sequence[AggregateRow]) -> dict[int, list[AggregateRow]]:
    found: dict[int, list[AggregateRow]] = {}
    for row in rows:
        found.setdefault(row.resolution, []).append(row)
    return found
