"""Readings that were received late, by the step that they belong to."""

from collections.abc import Collection

from sqlalchemy import Connection, Table, case, func, select

from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.readings import named_rows, within

LATE_SECONDS = 60
"""A reading that was received so long after it was measured is late."""


def select_late(
    connection: Connection,
    table: Table,
    hostname: str,
    metrics: Collection[str] | None,
    start: int,
    end: int,
    step: int,
    limit: int,
) -> list[tuple[str, int, int, int]] | None:
    """Late readings of a host with ``start <= observed_at < end`` that were received after their step was over.

    It reads all readings of this time, but not many more than ``limit``.

    Arguments:
        metrics: only these, some hundreds at most.
        step: seconds.
        limit: maximum number of readings that are looked at.

    Returns:
        Of each metric and step with such readings: metric, number of the step since the epoch, number of these
        readings, and the longest delay in seconds; in the order of metric and time. None: there are more than
        ``limit`` readings, late or not.
    """
    rows, number_of = named_rows(table), dialect_of(connection).bucket_number
    observed, received = rows.c.observed_at, rows.c.received_at
    delay, number = number_of(received, 1) - number_of(observed, 1), number_of(observed, step)
    chosen = [rows.c.hostname == hostname, *within(rows, start, end)]
    if metrics is not None:
        chosen.append(rows.c.metric.in_(metrics))
    is_late = (delay > LATE_SECONDS) & (number_of(received, step) > number)
    # All others are one group, without a metric: they are counted only.
    read = (
        select(
            case((is_late, rows.c.metric)).label("metric"),
            case((is_late, number)).label("step"),
            delay.label("delay"),
        )
        .where(*chosen)
        .limit(limit + 1)
        .subquery()
        .c
    )
    statement = (
        select(read.metric, read.step, func.count(), func.max(read.delay))
        .group_by(read.metric, read.step)
        .order_by(read.metric, read.step)
    )
    found = connection.execute(statement).all()
    if sum(int(count) for _, _, count, _ in found) > limit:
        return None
    return [
        (metric, int(each), int(count), int(longest))
        for metric, each, count, longest in found
        if metric is not None
    ]
