"""Queries of a plugin's history, bounded in rows: in SQL, or from what the plugin's own methods load."""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import Connection

from sparkle_app.model.buckets import AggregateRow, Statistics, merge_into
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.time import span
from sparkle_app.plugin.default_tables import has_default_aggregates, has_default_readings
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.aggregate_steps import select_points, select_steps
from sparkle_app.storage.late import select_late
from sparkle_app.storage.readings import select_page
from sparkle_app.storage.resolutions import Coverage, sources

Position = tuple[int, bytes]
"""Of a reading of a host: event time (microseconds since the epoch) and id."""


def load_steps(
    plugin: Plugin,
    connection: Connection,
    hostname: str,
    metrics: Collection[str] | None,
    stored: Sequence[Coverage],
    start: int,
    end: int,
    step: int,
    limit: int,
) -> Iterable[AggregateRow]:
    """Aggregates of a host with ``start <= bucket_start < end``, merged into steps; of each metric in order of time.

    Arguments:
        metrics: only these.
        stored: the aggregates that are stored (storage/resolutions.py).
        start, end: bounds of steps.
        step: a multiple of one of their resolutions.
        limit: maximum number of rows returned.
    """
    scope = (plugin, connection, hostname, metrics)
    found = [_load(*scope, source, step, limit) for source in sources(stored, start, end, step)]
    if len(found) == 1:
        return found[0]
    # A step may have buckets of two resolutions.
    return _merged(chain.from_iterable(found), hostname, step, limit)


class Columns(msgspec.Struct):
    """The points of one metric, in order of time. Steps without a reading are left out."""

    at: list[int]
    """Start of the step, seconds since the epoch."""
    average: list[float | None]
    minimum: list[float]
    maximum: list[float]
    count: list[int]


def load_columns(
    plugin: Plugin,
    connection: Connection,
    hostname: str,
    metrics: Collection[str] | None,
    stored: Sequence[Coverage],
    start: int,
    end: int,
    step: int,
    limit: int,
) -> dict[str, Columns]:
    """The result of :func:`load_steps` in columns, by metric."""
    scope = (plugin, connection, hostname, metrics)
    found = sources(stored, start, end, step)
    if len(found) == 1 and has_default_aggregates(plugin):
        (source,) = found
        bounds = (source.resolution, source.start, source.end)
        table = plugin.Aggregates.__table__
        rows = select_points(connection, table, hostname, metrics, *bounds, step, limit)
        if all(row[3] is not None for row in rows):
            rows_of: dict[str, list[Any]] = {}
            for row in rows:
                rows_of.setdefault(row[0], []).append(row)
            return {metric: _columns(rows_of[metric], source.resolution, step) for metric in sorted(rows_of)}
    points: dict[str, list[AggregateRow]] = {}
    for row in load_steps(*scope, stored, start, end, step, limit):
        points.setdefault(row.metric, []).append(row)
    return {
        metric: _columns_of(sorted(points[metric], key=lambda row: row.bucket_start))
        for metric in sorted(points)
    }


class LateSteps(msgspec.Struct):
    """Steps of one metric with readings that were received late, and after the step was over; in order of time."""

    at: list[int]
    """Start of the step, seconds since the epoch."""
    count: list[int]
    """Number of these readings."""
    delay_seconds: list[int]
    """From event time to the timestamp of the record: the longest."""


def load_late(
    plugin: Plugin,
    connection: Connection,
    hostname: str,
    metrics: Collection[str] | None,
    start: int,
    end: int,
    step: int,
    limit: int,
) -> dict[str, LateSteps] | None:
    """Steps with late readings, by metric. It reads all readings of the host with ``start <= observed_at < end``.

    Returns:
        None: not known, because there are more than ``limit`` readings, or the plugin stores them in a way of its own.
    """
    if not has_default_readings(plugin):
        return None
    found: dict[str, LateSteps] = {}
    scope = (plugin.DataFrame.__table__, hostname, metrics, start, end, step)
    late = select_late(connection, *scope, limit)
    if late is None:
        return None
    for metric, number, count, delay in late:
        steps = found.setdefault(metric, LateSteps([], [], []))
        steps.at.append(number * step)
        steps.count.append(count)
        steps.delay_seconds.append(delay)
    return found


def _columns(points: list[Any], resolution: int, step: int) -> Columns:
    points.sort(key=itemgetter(1))
    _, buckets, counts, sums, minimums, maximums = map(list, zip(*points, strict=True))
    at = [bucket * resolution // step * step for bucket in buckets]
    count = [int(each) for each in counts]
    return Columns(at, [total / n for total, n in zip(sums, count, strict=True)], minimums, maximums, count)


def _columns_of(rows: Sequence[AggregateRow]) -> Columns:
    statistics = [row.statistics for row in rows]
    return Columns(
        [row.bucket_start // span(1) for row in rows],
        [each.average if math.isfinite(each.average) else None for each in statistics],
        [each.minimum for each in statistics],
        [each.maximum for each in statistics],
        [each.count for each in statistics],
    )


def _load(
    plugin: Plugin,
    connection: Connection,
    hostname: str,
    metrics: Collection[str] | None,
    source: Coverage,
    step: int,
    limit: int,
) -> Iterable[AggregateRow]:
    scope = (source.resolution, source.start, source.end)
    if has_default_aggregates(plugin):
        table = plugin.Aggregates.__table__
        return select_steps(connection, table, hostname, metrics, *scope, step, limit)
    rows = (
        row
        for metric in ([None] if metrics is None else metrics)
        for row in plugin.load_aggregates(connection, [hostname], metric, *scope)
    )
    return _merged(rows, hostname, step, limit)


def load_page(
    plugin: Plugin,
    connection: Connection,
    hostname: str,
    start: int,
    end: int,
    limit: int,
    after: Position | None,
    metrics: Collection[str] | None = None,
) -> Iterable[StoredReading]:
    """The first ``limit`` readings of a host with ``start <= observed_at < end``, ordered by event time and id.

    Arguments:
        after: only readings after this one.
        metrics: only these.
    """
    if has_default_readings(plugin):
        return select_page(
            connection, plugin.DataFrame.__table__, hostname, start, end, limit, after, metrics
        )
    first = start if after is None else max(start, after[0])
    found = _ordered(plugin, connection, hostname, first, end, limit, after)
    return islice((each for each in found if metrics is None or each.key in metrics), limit)


def _merged(rows: Iterable[AggregateRow], hostname: str, step: int, limit: int) -> Iterator[AggregateRow]:
    merged: dict[tuple[str, int], Statistics] = {}
    for row in rows:
        key = row.metric, row.bucket_start // span(step)
        if len(merged) == limit and key not in merged:
            break
        merge_into(merged, key, row.statistics)
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
