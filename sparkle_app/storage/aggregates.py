"""Statements for an :class:`AggregatesTable`, used by the default methods of plugins."""

import math
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    FromClause,
    Integer,
    Select,
    Table,
    case,
    cast,
    func,
    literal,
    literal_column,
    select,
)

from sparkle_app.model.buckets import LARGE, MAX_SCALED, SCALE, AggregateRow, Statistics, bucket_start
from sparkle_app.model.retention import READINGS
from sparkle_app.model.time import micros, span
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.dialects.base import Dialect
from sparkle_app.storage.models import SERIES, data_table
from sparkle_app.storage.names import create_series, find_series, naming
from sparkle_app.storage.readings import named_rows, within
from sparkle_app.storage.statements import MAX_IN_LIST, chunks

_COLUMNS = ("hostname", "metric", "bucket", "count", "sum", "minimum", "maximum", "last", "last_at")


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
        names = {(row.hostname, row.metric) for row in some}
        with naming(connection, data, names, resolution) as (series_column, series):
            values = [
                {
                    series_column: series[row.hostname, row.metric],
                    "bucket": row.bucket_start // span(resolution),
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
            select(*(rows.c[name] for name in _COLUMNS))
            .where(rows.c.hostname.in_(some), *starting_within(rows, resolution, start, end))
            .order_by(rows.c.bucket, rows.c.metric)
        )
        if metric is not None:
            statement = statement.where(rows.c.metric == metric)
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
    rows = named_aggregates(table)
    chosen = _of_host(rows, hostname, metrics, resolution, start, end)
    found = _steps(table, chosen, resolution, step)
    statement = found.order_by(found.selected_columns.newest, found.selected_columns.metric).limit(limit)
    dialect = dialect_of(connection)
    for each in connection.execute(statement).mappings():
        yield _step_of(each, hostname, step, resolution, dialect)


def select_merged(
    connection: Connection,
    table: Table,
    hostnames: Sequence[str],
    resolution: int,
    start: int,
    end: int,
    step: int,
) -> Iterator[AggregateRow]:
    """As :func:`select_steps`, of all metrics of some hosts, in any order; infinite sums as rows of SQL have them."""
    rows = named_aggregates(table)
    dialect = dialect_of(connection)
    for some in chunks(hostnames, MAX_IN_LIST):
        chosen = (rows.c.hostname.in_(some), *starting_within(rows, resolution, start, end))
        for each in connection.execute(_steps(table, chosen, resolution, step, rows.c.hostname)).mappings():
            row = _step_of(each, each["hostname"], step, resolution, dialect)
            yield msgspec.structs.replace(row, statistics=row.statistics.as_row())


def _steps(
    table: Table,
    chosen: Sequence[ColumnElement[bool]],
    resolution: int,
    step: int,
    *names: ColumnElement[str],
) -> Select[Any]:
    rows, data = named_aggregates(table), data_table(table)
    row, newest = rows.c, data.alias()
    total, large_sum = _split_sum(row.sum)
    steps = (
        select(
            row.series_id,
            *names,
            row.metric,
            func.sum(row["count"]).label("count"),
            total.label("sum"),
            large_sum.label("large_sum"),
            func.min(row.sum).label("smallest_sum"),
            func.max(row.sum).label("largest_sum"),
            func.min(row.minimum).label("minimum"),
            func.max(row.maximum).label("maximum"),
            func.max(row.bucket).label("newest"),
        )
        .where(*chosen)
        .group_by(row.series_id, *names, row.metric, _step_number(row.bucket, resolution, step))
    )
    found = steps.subquery()
    return select(*found.c, newest.c.last, newest.c.last_at).join(
        newest, (newest.c.series_id == found.c.series_id) & (newest.c.bucket == found.c.newest)
    )


def _step_of(each: Any, hostname: str, step: int, resolution: int, dialect: Dialect) -> AggregateRow:
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
    return AggregateRow(
        hostname, each["metric"], step, bucket_start(each["newest"] * span(resolution), step), statistics
    )


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
    """Metric, number of the first bucket, count, sum, minimum and maximum of each step, of :func:`select_steps`.

    In any order: to sort by names takes the database longer than the rest. Without the last value, this takes a
    fraction of the time. ``sum`` is None where it may not be in the range of a double.
    """
    rows = named_aggregates(table)
    row = rows.c
    chosen = _of_host(rows, hostname, metrics, resolution, start, end)
    total = case((func.abs(row.sum) < LARGE, row.sum))
    if step == resolution:
        statement = select(row.metric, row.bucket, row["count"], total, row.minimum, row.maximum)
        statement = statement.where(*chosen)
    else:
        whole = func.count() == func.count(total)
        statement = (
            select(
                row.metric,
                func.min(row.bucket),
                func.sum(row["count"]),
                case((whole, func.sum(total))),
                func.min(row.minimum),
                func.max(row.maximum),
            )
            .where(*chosen)
            .group_by(row.metric, _step_number(row.bucket, resolution, step))
        )
    return connection.execute(statement.limit(limit)).all()


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
    data = data_table(table)
    for some in chunks(hostnames):
        dialect = dialect_of(connection)
        names = select(SERIES.c.hostname, SERIES.c.metric).where(
            SERIES.c.hostname.in_(some), SERIES.c.resolution == READINGS
        )
        create_series(connection, {(row[0], row[1]) for row in connection.execute(names)}, resolution)
        rows = _aggregated(dialect, readings, some, resolution, start, end).subquery()
        same = (SERIES.c.hostname == rows.c.hostname) & (SERIES.c.metric == rows.c.metric)
        columns = ["series_id", *_COLUMNS[2:]]
        found = (
            select(SERIES.c.id.label("series_id"), *(rows.c[name] for name in columns[1:]))
            .select_from(rows.join(SERIES, same & (SERIES.c.resolution == resolution)))
            # Always true; without WHERE, SQLite takes the ON of a following ON CONFLICT for that of a join.
            .where(rows.c["count"] > 0)
        )
        stored += dialect.insert_missing(connection, data, columns, found)
    return stored


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
    return bucket >= -(-start // size), bucket < -(-end // size)


@cache
def named_aggregates(table: Table) -> FromClause:
    """The rows of an aggregates table with ``hostname``, ``metric`` and ``resolution``."""
    data = data_table(table)
    joined = data.join(SERIES, SERIES.c.id == data.c.series_id)
    return (
        select(data, SERIES.c.hostname, SERIES.c.metric, SERIES.c.resolution).select_from(joined).subquery()
    )


def _of_host(
    rows: FromClause, hostname: str, metrics: Collection[str] | None, resolution: int, start: int, end: int
) -> tuple[ColumnElement[bool], ...]:
    within_range = starting_within(rows, resolution, start, end)
    of_metrics = () if metrics is None else (rows.c.metric.in_(metrics),)
    return rows.c.hostname == hostname, *within_range, *of_metrics


def _step_number(bucket: ColumnElement[int], resolution: int, step: int) -> ColumnElement[int]:
    return bucket // literal_column(str(step // resolution), Integer)


def _by_resolution(rows: Sequence[AggregateRow]) -> dict[int, list[AggregateRow]]:
    found: dict[int, list[AggregateRow]] = {}
    for row in rows:
        found.setdefault(row.resolution, []).append(row)
    return found


def _aggregated(
    dialect: Dialect, table: Table, hostnames: Sequence[str], resolution: int, start: int, end: int
) -> Select[Any]:
    """Columns are those of ``_COLUMNS``, in their order."""
    readings = named_rows(table)
    row, at = readings.c, readings.c.observed_at
    bucket = dialect.bucket_number(at, resolution)
    newest = func.row_number().over(
        partition_by=(row.series_id, bucket), order_by=(at.desc(), row.value.desc())
    )
    rows = (
        select(row.hostname, row.metric, row.value, at, bucket.label("bucket"), newest.label("newest"))
        .where(row.hostname.in_(hostnames), *within(readings, start, end))
        .subquery()
    )
    keys = (rows.c.hostname, rows.c.metric, rows.c.bucket)
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
    return select(*(whole_sum if name == "sum" else found[name] for name in _COLUMNS))


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
    hostname, metric, bucket, count, total, minimum, maximum, last, last_at = row
    total = _sum_of(total, dialect)
    statistics = Statistics(int(count), total, minimum, maximum, last, micros(last_at))
    return AggregateRow(hostname, metric, resolution, int(bucket) * span(resolution), statistics)
