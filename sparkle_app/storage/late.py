"""Readings that were received late, by the step that they belong to."""

from collections.abc import Collection

from sqlalchemy import Connection, Table, func, select

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
) -> list[tuple[str, int, int, int]]:
    """Late readings of a host with ``start <= observed_at < end`` that were received after their step was over.

    It reads all readings of this time.

    Arguments:
        metrics: only these, some hundreds at most.
        step: seconds.

    Returns:
        Of each metric and step with such readings: metric, number of the step since the epoch, number of these
        readings, and the longest delay in seconds; in the order of metric and time.
    """
    rows, number_of = named_rows(table), dialect_of(connection).bucket_number
    observed, received = rows.c.observed_at, rows.c.received_at
    delay, number = number_of(received, 1) - number_of(observed, 1), number_of(observed, step)
    chosen = [rows.c.hostname == hostname, *within(rows, start, end)]
    if metrics is not None:
        chosen.append(rows.c.metric.in_(metrics))
    late = (
        select(rows.c.metric, number.label("step"), delay.label("delay"))
        .where(*chosen, delay > LATE_SECONDS, number_of(received, step) > number)
        .subquery()
        .c
    )
    statement = (
        select(late.metric, late.step, func.count(), func.max(late.delay))
        .group_by(late.metric, late.step)
        .order_by(late.metric, late.step)
    )
    return [
        (metric, int(each), int(count), int(longest))
        for metric, each, count, longest in connection.execute(statement)
    ]
