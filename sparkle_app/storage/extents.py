"""How many aggregates each host has, of which size and time: what is needed to read them page by page."""

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, func, select

from sparkle_app.model.time import micros, moment


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
    at = table.c.bucket_start
    statement = (
        select(table.c.hostname, func.count(), func.min(at), func.max(at))
        .where(*_within(table, resolution, start, end))
        .group_by(table.c.hostname)
    )
    if hostname is not None:
        statement = statement.where(table.c.hostname == hostname)
    for name, rows, first, last in connection.execute(statement):
        yield Extent(name, rows, micros(first), micros(last))


def select_aggregated_metrics(
    connection: Connection, table: Table, hostname: str, resolution: int, start: int, end: int
) -> list[str]:
    """The metrics of a host that have aggregates with ``start <= bucket_start < end``."""
    statement = (
        select(table.c.metric)
        .where(table.c.hostname == hostname, *_within(table, resolution, start, end))
        .distinct()
    )
    return sorted(connection.execute(statement).scalars())


def select_resolutions(connection: Connection, table: Table) -> list[int]:
    """The bucket sizes of which aggregates are stored, in seconds."""
    return sorted(connection.execute(select(table.c.resolution).distinct()).scalars())


def _within(table: Table, resolution: int, start: int, end: int) -> tuple[ColumnElement[Any], ...]:
    at = table.c.bucket_start
    return table.c.resolution == resolution, at >= moment(start), at < moment(end)
