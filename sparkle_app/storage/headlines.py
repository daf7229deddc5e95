"""The metric that stands for a host, of many hosts in steps: merged by the database."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Integer, Table, case, func, literal_column, select

from sparkle_app.storage.aggregate_steps import bounded_sum, step_number
from sparkle_app.storage.aggregates import buckets_within
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.models import SERIES


def select_headlines(
    connection: Connection,
    table: Table,
    hostnames: Collection[str],
    metric: str | None,
    highest: bool,
    resolution: int,
    start: int,
    end: int,
    step: int,
) -> list[tuple[str, bool, int, float | None]]:
    """The highest (or the lowest) average of a host's metrics in each step, of aggregates of this resolution.

    Arguments:
        hostnames: at most as many as fit into one statement.
        metric: has rows of its own.
        highest: whether the highest average is meant.
        start, end: ``start <= bucket_start < end``, bounds of steps.
        step: seconds, a multiple of ``resolution``.

    Returns:
        Hostname, whether the row is that of ``metric``, number of the step since the epoch, and the average, which is
        None where a sum may not be in the range of a double.
    """
    data = data_table(table).c
    of_hosts = select(SERIES.c.id).where(SERIES.c.hostname.in_(hostnames), SERIES.c.resolution == resolution)
    number, total = step_number(data.bucket, resolution, step), bounded_sum(data.sum)
    average = case((func.count() == func.count(total), func.sum(total) / func.sum(data["count"])))
    steps = (
        select(data.series_id, number.label("step"), average.label("average"))
        .where(data.series_id.in_(of_hosts), *buckets_within(data.bucket, resolution, start, end))
        .group_by(data.series_id, number)
        .subquery()
    )
    named = (
        case((SERIES.c.metric == metric, 1), else_=0) if metric is not None else literal_column("0", Integer)
    )
    # A subquery, so that the expression is the same in both clauses for a database that compares them by their text.
    rows = (
        select(SERIES.c.hostname, named.label("named"), steps.c.step, steps.c.average)
        .join(steps, steps.c.series_id == SERIES.c.id)
        .subquery()
        .c
    )
    best = func.max(rows.average) if highest else func.min(rows.average)
    statement = select(rows.hostname, rows.named, rows.step, best).group_by(
        rows.hostname, rows.named, rows.step
    )
    found: list[Any] = list(connection.execute(statement))
    return [(host, bool(is_named), int(step_number), value) for host, is_named, step_number, value in found]
