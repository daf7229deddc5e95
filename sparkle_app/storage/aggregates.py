"""Statements for an :class:`AggregatesTable`, used by the default methods of plugins."""

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Integer,
    Select,
    Table,
    case,
    cast,
    func,
    literal,
    select,
    type_coerce,
)

from sparkle_app.model.buckets import LARGE, MAX_SCALED, SCALE, AggregateRow, Statistics, bucket_start
from sparkle_app.model.time import micros, moment
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.dialects.base import Dialect
from sparkle_app.storage.readings import within
from sparkle_app.storage.statements import chunks

_COLUMNS = ("hostname", "metric", "bucket_start", "count", "sum", "minimum", "maximum", "last", "last_at")


def upsert_growing(connection: Connection, table: Table, rows: Sequence[AggregateRow]) -> None:
    """Upsert whole aggregates; a row that counts fewer readings than the stored one is ignored.

    A bucket only gains readings, so the larger count is the newer value: the late write of a suspended worker is
    harmless.
    """
    if not rows:
        return
    dialect = dialect_of(connection)
    time, _ = dialect.converters(table)
    infinity = dialect.infinity
    values = [
        {
            "hostname": row.hostname,
            "metric": row.metric,
            "resolution": row.resolution,
            "bucket_start": time(row.bucket_start),
            "count": row.statistics.count,
            "sum": max(-infinity, min(row.statistics.sum, infinity)),
            "minimum": row.statistics.minimum,
            "maximum": row.statistics.maximum,
            "last": row.statistics.last,
            "last_at": time(row.statistics.last_at),
        }
        for row in rows
    ]
    dialect.upsert_growing(connection, table, values)


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
    for some in chunks(hostnames):
        statement = (
            select(*(table.c[name] for name in _COLUMNS))
            .where(table.c.hostname.in_(some), table.c.resolution == resolution)
            .where(table.c.bucket_start >= moment(start), table.c.bucket_start < moment(end))
            .order_by(table.c.bucket_start, table.c.metric)
        )
        if metric is not None:
            statement = statement.where(table.c.metric == metric)
        for row in connection.execute(statement):
            yield _aggregate_of(row, resolution, dialect_of(connection))


def select_steps(
    connection: Connection,
    table: Table,
    hostname: str,
    metrics: Collection[str] | None,
    resolution: int,
    start: int,
    end: int,
    step: int,
    limit: int,
) -> Iterator[AggregateRow]:
    """Aggregates of a host with ``start <= bucket_start < end``, merged into steps of ``step`` seconds by the database.

    Buckets do not overlap: the last reading of a step is that of its newest bucket.

    Arguments:
        metrics: only these.
        step: a multiple of ``resolution``.
        limit: maximum number of rows returned, in order of time.
    """
    row, newest = table.c, table.alias()
    dialect = dialect_of(connection)
    total, large_sum = _split_sum(row.sum)
    steps = (
        select(
            row.metric,
            func.sum(row["count"]).label("count"),
            total.label("sum"),
            large_sum.label("large_sum"),
            func.min(row.sum).label("smallest_sum"),
            func.max(row.sum).label("largest_sum"),
            func.min(row.minimum).label("minimum"),
            func.max(row.maximum).label("maximum"),
            func.max(row.bucket_start).label("newest"),
        )
        .where(row.hostname == hostname, row.resolution == resolution)
        .where(row.bucket_start >= moment(start), row.bucket_start < moment(end))
        .group_by(row.metric, dialect.bucket_number(row.bucket_start, step))
    )
    if metrics is not None:
        steps = steps.where(row.metric.in_(metrics))
    found = steps.subquery()
    statement = (
        select(*found.c, newest.c.last, newest.c.last_at)
        .join(newest, (newest.c.metric == found.c.metric) & (newest.c.bucket_start == found.c.newest))
        .where(newest.c.hostname == hostname, newest.c.resolution == resolution)
        .order_by(found.c.newest, found.c.metric)
        .limit(limit)
    )
    for each in connection.execute(statement).mappings():
        # An infinite sum may stand as a finite number, and SQLite has NULL for the sum of infinities of both signs.
        bounds = (_sum_of(each[name], dialect) for name in ("smallest_sum", "largest_sum"))
        infinite = {bound for bound in bounds if math.isinf(bound)}
        large = sum(infinite) if infinite else each["large_sum"]
        statistics = Statistics(
            int(each["count"]),
            each["sum"],
            each["minimum"],
            each["maximum"],
            each["last"],
            micros(each["last_at"]),
            large,
        )
        at = bucket_start(micros(each["newest"]), step)
        yield AggregateRow(hostname, each["metric"], step, at, statistics)


def select_points(
    connection: Connection,
    table: Table,
    hostname: str,
    metrics: Collection[str] | None,
    resolution: int,
    start: int,
    end: int,
    step: int,
    limit: int,
) -> Sequence[Any]:
    """Metric, start, count, sum, minimum and maximum of each step, as :func:`select_steps` merges them.

    In any order: to sort by names takes the database longer than the rest. Without the last value, this takes a
    fraction of the time. ``sum`` is None where it may not be in the range of a double.
    """
    row = table.c
    chosen = (
        (row.hostname == hostname, row.resolution == resolution)
        + (row.bucket_start >= moment(start), row.bucket_start < moment(end))
        + (() if metrics is None else (row.metric.in_(metrics),))
    )
    total = case((func.abs(row.sum) < LARGE, row.sum))
    if step == resolution:
        statement = select(row.metric, row.bucket_start, row["count"], total, row.minimum, row.maximum)
        statement = statement.where(*chosen)
    else:
        whole = func.count() == func.count(total)
        statement = (
            select(
                row.metric,
                func.min(row.bucket_start),
                func.sum(row["count"]),
                case((whole, func.sum(total))),
                func.min(row.minimum),
                func.max(row.maximum),
            )
            .where(*chosen)
            .group_by(row.metric, dialect_of(connection).bucket_number(row.bucket_start, step))
        )
    return connection.execute(statement.limit(limit)).all()


def delete_aggregates(
    connection: Connection, table: Table, resolution: int, keys: Sequence[tuple[str, int, str]]
) -> None:
    """Delete aggregates by hostname, bucket start and metric."""
    rows = [
        {"hostname": hostname, "metric": metric, "resolution": resolution, "bucket_start": moment(start)}
        for hostname, start, metric in keys
    ]
    dialect_of(connection).delete_rows(connection, table, rows)


def select_bucket_counts(
    connection: Connection, table: Table, resolution: int, start: int, end: int, hostname: str | None
) -> Iterator[tuple[str, int, int]]:
    """Hostname, start and reading count of each bucket with ``start <= bucket_start < end``, optionally of one host."""
    statement = (
        select(table.c.hostname, table.c.bucket_start, func.sum(table.c["count"]))
        .where(table.c.bucket_start >= moment(start), table.c.bucket_start < moment(end))
        .where(table.c.resolution == resolution)
        .group_by(table.c.hostname, table.c.bucket_start)
    )
    if hostname is not None:
        statement = statement.where(table.c.hostname == hostname)
    for hostname, at, count in connection.execute(statement):
        yield hostname, micros(at), int(count)


def aggregate_readings(
    connection: Connection, readings: Table, hostnames: Sequence[str], resolution: int, start: int, end: int
) -> Iterator[AggregateRow]:
    """Aggregates computed from stored readings by the database.

    The result is that of counting the readings one by one (model/buckets.py), at many times the speed.
    """
    for some in chunks(hostnames):
        statement = _aggregated(dialect_of(connection), readings, some, resolution, start, end)
        for row in connection.execute(statement):
            yield _aggregate_of(row, resolution, dialect_of(connection))


def insert_aggregated(
    connection: Connection,
    table: Table,
    readings: Table,
    hostnames: Sequence[str],
    resolution: int,
    start: int,
    end: int,
) -> int:
    """Insert the result of :func:`aggregate_readings` where no aggregate is stored; return the number inserted."""
    stored = 0
    for some in chunks(hostnames):
        dialect = dialect_of(connection)
        rows = _aggregated(dialect, readings, some, resolution, start, end)
        rows = rows.add_columns(literal(resolution, Integer).label("resolution"))
        stored += dialect.insert_missing(connection, table, [*_COLUMNS, "resolution"], rows)
    return stored


def _aggregated(
    dialect: Dialect, table: Table, hostnames: Sequence[str], resolution: int, start: int, end: int
) -> Select[Any]:
    """Columns are those of ``_COLUMNS``, in their order."""
    row, at = table.c, table.c.observed_at
    bucket = type_coerce(dialect.bucket_start(at, resolution), at.type)
    newest = func.row_number().over(
        partition_by=(row.hostname, row.metric, bucket), order_by=(at.desc(), row.value.desc())
    )
    rows = (
        select(row.hostname, row.metric, row.value, at, bucket.label("bucket_start"), newest.label("newest"))
        .where(row.hostname.in_(hostnames), *within(table, start, end))
        .subquery()
    )
    keys = (rows.c.hostname, rows.c.metric, rows.c.bucket_start)
    total, large_sum = _split_sum(cast(rows.c.value, Double))
    buckets = select(
        *keys,
        func.count().label("count"),
        total.label("sum"),
        large_sum.label("large_sum"),
        func.min(rows.c.value).label("minimum"),
        func.max(rows.c.value).label("maximum"),
        func.max(case((rows.c.newest == 1, rows.c.value))).label("last"),
        func.max(rows.c.observed_at).label("last_at"),
    )
    found = buckets.group_by(*keys).subquery().c
    whole_sum = _whole_sum(found.sum, found.large_sum, dialect.infinity)
    columns = (whole_sum if name == "sum" else found[name] for name in _COLUMNS)
    # Always true; without WHERE, SQLite takes the ON of a following ON CONFLICT for that of a join.
    return select(*columns).where(found["count"] > 0)


def _split_sum(value: ColumnElement[Any]) -> tuple[ColumnElement[float], ColumnElement[float]]:
    """``sum`` and ``large_sum`` of :class:`Statistics`: PostgreSQL refuses a sum beyond the range of a double."""
    is_large = func.abs(value) >= LARGE
    return (
        func.sum(case((is_large, 0.0), else_=value)),
        func.sum(case((is_large, value * SCALE), else_=0.0)),
    )


def _whole_sum(
    total: ColumnElement[float], large_sum: ColumnElement[float], infinity: float
) -> ColumnElement[float]:
    """As ``Statistics.as_row``."""
    infinite = literal(infinity, Double)
    return case(
        (large_sum > MAX_SCALED, infinite),
        (large_sum < -MAX_SCALED, -infinite),
        else_=total + large_sum / SCALE,
    ).label("sum")


def _sum_of(stored: float, dialect: Dialect) -> float:
    return math.copysign(math.inf, stored) if abs(stored) >= dialect.infinity else stored


def _aggregate_of(row: Any, resolution: int, dialect: Dialect) -> AggregateRow:
    hostname, metric, start, count, total, minimum, maximum, last, last_at = row
    total = _sum_of(total, dialect)
    statistics = Statistics(int(count), total, minimum, maximum, last, micros(last_at))
    return AggregateRow(hostname, metric, resolution, micros(start), statistics)
