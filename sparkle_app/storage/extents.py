"""How many aggregates each host has, of which size and time: what is needed to read them page by page."""

from collections.abc import Iterator

import msgspec
from sqlalchemy import Connection, Table, exists, func, select

from sparkle_app.model.time import span
from sparkle_app.storage.aggregates import named_aggregates, starting_within
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.models import SERIES


class Extent(msgspec.Struct, frozen=True):
    """The stored aggregates of one host in a time range."""

    hostname: str
    rows: int
    first: int
    """Start of the first bucket."""
    last: int
    """Start of the last bucket."""


def select_extents(
    connection: Connection, table: Table, resolution: int, start: int, end: int, hostname: str | None
) -> Iterator[Extent]:
    """Hosts with aggregates with ``start <= bucket_start < end``, or only one host."""
    rows = named_aggregates(table)
    at = rows.c.bucket
    statement = (
        select(rows.c.hostname, func.count(), func.min(at), func.max(at))
        .where(*starting_within(rows, resolution, start, end))
        .group_by(rows.c.hostname)
    )
    if hostname is not None:
        statement = statement.where(rows.c.hostname == hostname)
    for name, count, first, last in connection.execute(statement):
        yield Extent(name, count, first * span(resolution), last * span(resolution))


def select_aggregated_metrics(
    connection: Connection, table: Table, hostname: str, resolution: int, start: int, end: int
) -> list[str]:
    """The metrics of a host that have aggregates with ``start <= bucket_start < end``."""
    rows = named_aggregates(table)
    statement = (
        select(rows.c.metric)
        .where(rows.c.hostname == hostname, *starting_within(rows, resolution, start, end))
        .distinct()
    )
    return sorted(connection.execute(statement).scalars())


def select_resolutions(connection: Connection, table: Table) -> list[int]:
    """The bucket sizes of which aggregates are stored, in seconds."""
    data = data_table(table)
    stored = exists().where(data.c.series_id == SERIES.c.id)
    return sorted(connection.execute(select(SERIES.c.resolution).where(stored).distinct()).scalars())
