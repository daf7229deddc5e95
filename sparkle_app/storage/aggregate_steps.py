"""Aggregates of hosts over time, merged into longer steps by the database."""

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    Table,
    case,
    func,
    literal_column,
    select,
)

from sparkle_app.model.buckets import LARGE, AggregateRow, Statistics, bucket_start
from sparkle_app.model.time import micros, span
from sparkle_app.storage.aggregates import named_aggregates, split_sum, starting_within, sum_of
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.dialects.base import Dialect
from sparkle_app.storage.statements import MAX_IN_LIST, chunks


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
    total = bounded_sum(row.sum)
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
            .group_by(row.metric, step_number(row.bucket, resolution, step))
        )
    return connection.execute(statement.limit(limit)).all()


def step_number(bucket: ColumnElement[int], resolution: int, step: int) -> ColumnElement[int]:
    """The number of the step since the epoch that contains a bucket."""
    return bucket // literal_column(str(step // resolution), Integer)


def bounded_sum(value: ColumnElement[float]) -> ColumnElement[float | None]:
    """A sum; NULL if it is so large that its sum with others may exceed the range of a double."""
    return case((func.abs(value) < LARGE, value))


def _steps(
    table: Table,
    chosen: Sequence[ColumnElement[bool]],
    resolution: int,
    step: int,
    *names: ColumnElement[str],
) -> Select[Any]:
    rows, data = named_aggregates(table), data_table(table)
    row, newest = rows.c, data.alias()
    total, large_sum = split_sum(row.sum)
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
        .group_by(row.series_id, *names, row.metric, step_number(row.bucket, resolution, step))
    )
    found = steps.subquery()
    return select(*found.c, newest.c.last, newest.c.last_at).join(
        newest, (newest.c.series_id == found.c.series_id) & (newest.c.bucket == found.c.newest)
    )


def _step_of(each: Any, hostname: str, step: int, resolution: int, dialect: Dialect) -> AggregateRow:
    # An infinite sum may stand as a finite number, and SQLite has NULL for the sum of infinities of both signs.
    bounds = (sum_of(each[name], dialect) for name in ("smallest_sum", "largest_sum"))
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


def _of_host(
    rows: FromClause, hostname: str, metrics: Collection[str] | None, resolution: int, start: int, end: int
) -> tuple[ColumnElement[bool], ...]:
    within_range = starting_within(rows, resolution, start, end)
    of_metrics = () if metrics is None else (rows.c.metric.in_(metrics),)
    return rows.c.hostname == hostname, *within_range, *of_metrics
