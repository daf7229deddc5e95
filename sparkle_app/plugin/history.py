"""Queries of a plugin's history, bounded in rows: in SQL, or from what the plugin's own methods load."""

from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec
from sqlalchemy import Connection

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.time import span
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.aggregates import select_steps
from sparkle_app.storage.readings import select_page

Position = tuple[int, bytes]
"""Of a reading of a host: event time (microseconds since the epoch) and id."""


def load_steps(
    plugin: Plugin,
    connection: Connection,
    hostname: str,
    metric: str | None,
    resolution: int,
    start: int,
    end: int,
    step: int,
    limit: int,
) -> Iterable[AggregateRow]:
    """Aggregates of a host with ``start <= bucket_start < end``, merged into steps; of each metric in order of time.

    Arguments:
        metric: only this metric.
        resolution: bucket size in seconds.
        step: a multiple of it.
        limit: maximum number of rows returned.
    """
    if type(plugin).load_aggregates is Plugin.load_aggregates:
        table = plugin.Aggregates.__table__
        return select_steps(connection, table, hostname, metric, resolution, start, end, step, limit)
    rows = plugin.load_aggregates(connection, [hostname], metric, resolution, start, end)
    return _merged(rows, hostname, step, limit)


def load_page(
    plugin: Plugin,
    connection: Connection,
    hostname: str,
    start: int,
    end: int,
    limit: int,
    after: Position | None,
) -> Iterable[StoredReading]:
    """The first ``limit`` readings of a host with ``start <= observed_at < end``, ordered by event time and id.

    Arguments:
        after: only readings after this one.
    """
    if type(plugin).load_readings is Plugin.load_readings:
        return select_page(connection, plugin.DataFrame.__table__, hostname, start, end, limit, after)
    first = start if after is None else max(start, after[0])
    return islice(_ordered(plugin, connection, hostname, first, end, limit, after), limit)


def _merged(rows: Iterable[AggregateRow], hostname: str, step: int, limit: int) -> Iterator[AggregateRow]:
    merged: dict[tuple[str, int], Statistics] = {}
    for row in rows:
        key = row.metric, row.bucket_start // span(step)
        if key in merged:
            merged[key].merge(row.statistics)
        elif len(merged) == limit:
            break
        else:
            merged[key] = msgspec.structs.replace(row.statistics)
    for (metric, number), statistics in merged.items():
        yield AggregateRow(hostname, metric, step, number * span(step), statistics)


def _ordered(
    plugin: Plugin,
    connection: Connection,
    hostname: str,
    first: int,
    end: int,
    limit: int,
    after: Position | None,
) -> Iterator[StoredReading]:
    """A plugin promises the order of event time only: the last time of a block is loaded whole."""
    while first < end:
        block = list(plugin.load_readings(connection, [hostname], first, end, limit=limit))
        first = end
        if len(block) == limit:
            last = block[-1].observed_at
            same = plugin.load_readings(connection, [hostname], last, last + 1)
            block = [*(each for each in block if each.observed_at < last), *same]
            first = last + 1
        for each in sorted(block, key=_position):
            if after is None or _position(each) > after:
                yield each


def _position(reading: StoredReading) -> Position:
    return reading.observed_at, reading.id
