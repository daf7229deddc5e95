"""What the aggregates of each resolution should be: computed from readings, or merged from finer aggregates.

Where readings are kept, all resolutions are computed from these. Before that time, hours and days are merged from finer
aggregates where all of these are kept, and cannot be verified otherwise. Buckets cannot be verified without readings.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from sparkle_app.audit.chunks import Chunk, ceiling
from sparkle_app.audit.differences import AggregateKey, Difference, statistics_equal
from sparkle_app.model.buckets import AggregateRow, Statistics, bucket_start, merge_into
from sparkle_app.model.retention import READINGS, Watermarks
from sparkle_app.plugin_api import Plugin

Aggregates = dict[AggregateKey, Statistics]


@dataclass(frozen=True)
class Level:
    """The aggregates of one resolution on a chunk: those that are kept, and of hours and days those that are merged."""

    resolution: int
    stored: Mapping[AggregateKey, Statistics]
    """In SQL."""
    computed: Mapping[AggregateKey, Statistics]
    """What should be in SQL."""
    not_verifiable: Mapping[AggregateKey, Statistics]
    """Others in SQL: what they were computed from is not kept."""
    readings: int
    """The number of readings, also of those whose aggregates are not kept."""

    @property
    def differences(self) -> Iterator[Difference]:
        """Those of ``stored`` and ``computed``, in the order of their keys."""
        for key in sorted(self.stored.keys() | self.computed.keys()):
            stored, computed = self.stored.get(key), self.computed.get(key)
            if not statistics_equal(stored, computed):
                yield Difference(key, stored, computed)


def levels(plugin: Plugin, connection: Connection, marks: Watermarks, chunk: Chunk) -> Iterator[Level]:
    """The buckets of a chunk, then its whole hours and days, unless none of these has been merged.

    Arguments:
        marks: of the plugin, from the same transaction.
    """
    finer: Mapping[AggregateKey, Statistics] = {}
    for resolution in marks.resolutions:
        first, last = chunk.whole(resolution)
        until = last
        if resolution != marks.bucket_size:
            until = min(last, marks[resolution].merged_until)
            if first >= until:
                continue
        since = max(first, ceiling(marks[resolution].kept_since, resolution))
        is_known = _is_known(marks, resolution)
        stored = _stored(plugin, connection, chunk, resolution, since, until)
        if resolution == marks.bucket_size:
            kept = max(first, ceiling(marks[READINGS].kept_since, resolution))
            computed = _computed(plugin, connection, chunk, resolution, kept, last)
        else:
            within = {key: each for key, each in finer.items() if first <= key.start < last}
            computed = _merge(within, resolution, is_known)
        yield Level(
            resolution,
            {key: each for key, each in stored.items() if is_known(key.start)},
            {key: each for key, each in computed.items() if since <= key.start < until},
            {key: each for key, each in stored.items() if not is_known(key.start)},
            sum(each.count for each in computed.values()),
        )
        # Aggregates whose readings were deleted count in coarser ones: `rebuild` leaves them unchanged.
        finer = {**stored, **computed}


def _is_known(marks: Watermarks, resolution: int) -> Callable[[int], bool]:
    """A function: whether what an aggregate that begins at this time is computed from is kept."""
    if resolution == marks.bucket_size:
        return marks.accepts
    return lambda start: marks.source(resolution, start) is not None


def _stored(
    plugin: Plugin, connection: Connection, chunk: Chunk, resolution: int, start: int, end: int
) -> Aggregates:
    if start >= end:
        return {}
    return _by_key(plugin.load_aggregates(connection, chunk.hostnames, None, resolution, start, end))


def _computed(
    plugin: Plugin, connection: Connection, chunk: Chunk, resolution: int, start: int, end: int
) -> Aggregates:
    if start >= end:
        return {}
    return _by_key(plugin.compute_aggregates(connection, chunk.hostnames, resolution, start, end))


def _by_key(rows: Iterable[AggregateRow]) -> Aggregates:
    return {
        AggregateKey(row.hostname, row.bucket_start, row.metric, row.resolution): row.statistics
        for row in rows
    }


def _merge(
    finer: Mapping[AggregateKey, Statistics], resolution: int, is_known: Callable[[int], bool]
) -> Aggregates:
    merged: Aggregates = {}
    for key, statistics in finer.items():
        start = bucket_start(key.start, resolution)
        if is_known(start):
            merge_into(merged, AggregateKey(key.hostname, start, key.metric, resolution), statistics)
    return {key: each.as_row() for key, each in merged.items()}
