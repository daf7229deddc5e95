"""Stores aggregates of buckets, and merges hours and days from them, as the watermarks of retention require."""

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

from sqlalchemy import Connection

from sparkle_app.model.buckets import AggregateRow, Statistics, bucket_start, merge_into
from sparkle_app.model.retention import READINGS, Watermarks
from sparkle_app.model.time import span
from sparkle_app.plugin.default_tables import has_default_aggregates
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.aggregate_steps import select_merged

# In the same order in all transactions, so that they cannot deadlock.
_ORDER = attrgetter("hostname", "metric", "bucket_start")


def store_buckets(
    plugin: Plugin, connection: Connection, marks: Watermarks, rows: Sequence[AggregateRow]
) -> int:
    """Upsert aggregates of buckets, and merge the hours and days again that contain them and were merged already.

    Arguments:
        marks: of the plugin, locked in this transaction (storage/retention.py).
        rows: of the bucket size of ``marks``, with all readings that are stored.

    Returns:
        The number of rows that are dropped, because the readings of their bucket have expired.
    """
    starts = {row.bucket_start for row in rows}
    accepted = {start for start in starts if marks.accepts(start)}
    kept = {start for start in accepted if marks.keeps(marks.bucket_size, start)}
    stored = list(rows) if kept == starts else [row for row in rows if row.bucket_start in kept]
    if stored:
        plugin.store_aggregates(connection, stored)
    changed = rows if accepted == starts else [row for row in rows if row.bucket_start in accepted]
    merge_again(plugin, connection, marks, changed)
    return len(rows) - len(changed)


def merge_again(
    plugin: Plugin, connection: Connection, marks: Watermarks, rows: Iterable[AggregateRow]
) -> None:
    """Merge the hours and days again that contain some aggregates, which have changed, and were merged already.

    Arguments:
        marks: of the plugin, locked in this transaction.
        rows: of buckets, or hours; those of other resolutions than the ones of ``marks`` are ignored.
    """
    changed: dict[tuple[int, int], set[str]] = {}
    for row in rows:
        changed.setdefault((row.resolution, row.bucket_start), set()).add(row.hostname)
    hosts: dict[tuple[int, int], set[str]] = {}
    for (finer, start), hostnames in changed.items():
        if finer in marks.resolutions:
            for resolution, at in marks.to_merge_again(start):
                if resolution > finer:
                    hosts.setdefault((resolution, at), set()).update(hostnames)
    # Finest first: days are merged from hours.
    for (resolution, at), merged in sorted(hosts.items()):
        merge(plugin, connection, marks, sorted(merged), resolution, at)


def merge(
    plugin: Plugin,
    connection: Connection,
    marks: Watermarks,
    hostnames: Sequence[str],
    resolution: int,
    start: int,
) -> None:
    """Upsert the aggregates of some hosts for an hour or a day.

    The result is that of aggregating the readings: it does not change if it is merged again, and an aggregate that
    counts fewer readings than the stored one changes nothing.

    Arguments:
        resolution: in seconds.
        start: of the hour or day.
    """
    end = start + span(resolution)
    if rows := merged_rows(plugin, connection, marks, hostnames, resolution, start, end):
        plugin.store_aggregates(connection, rows)


def merged_rows(
    plugin: Plugin,
    connection: Connection,
    marks: Watermarks,
    hostnames: Sequence[str],
    resolution: int,
    start: int,
    end: int,
) -> list[AggregateRow]:
    """The rows of :func:`merge`, in the order in which they must be stored.

    Arguments:
        start, end: of a day, or of hours of one day.
    """
    found: dict[tuple[str, str, int], AggregateRow] = {}
    for source in marks.sources(resolution, start):
        for row in _rows_from(source, plugin, connection, hostnames, resolution, start, end):
            known = found.get(_ORDER(row))
            if known is None or known.statistics.count < row.statistics.count:
                found[_ORDER(row)] = row
    return [found[key] for key in sorted(found)]


def _rows_from(
    source: int,
    plugin: Plugin,
    connection: Connection,
    hostnames: Sequence[str],
    resolution: int,
    start: int,
    end: int,
) -> Iterable[AggregateRow]:
    if source == READINGS:
        return plugin.compute_aggregates(connection, hostnames, resolution, start, end)
    if has_default_aggregates(plugin):
        table = plugin.Aggregates.__table__
        return select_merged(connection, table, hostnames, source, start, end, resolution)
    finer = plugin.load_aggregates(connection, hostnames, None, source, start, end)
    return _merged(finer, resolution)


def _merged(rows: Iterable[AggregateRow], resolution: int) -> Iterator[AggregateRow]:
    merged: dict[tuple[str, str, int], Statistics] = {}
    for row in rows:
        key = row.hostname, row.metric, bucket_start(row.bucket_start, resolution)
        merge_into(merged, key, row.statistics)
    for (hostname, metric, start), statistics in merged.items():
        yield AggregateRow(hostname, metric, resolution, start, statistics.as_row())
