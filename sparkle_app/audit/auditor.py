"""Compares the aggregates in SQL with what they are computed from, and repairs those that differ."""

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection, Engine

from sparkle_app.audit.chunks import Chunk, ChunkResult, Scope, ceiling
from sparkle_app.audit.differences import AggregateKey, Difference
from sparkle_app.audit.levels import Level, levels
from sparkle_app.model.buckets import AggregateRow, bucket_start
from sparkle_app.model.retention import READINGS, Watermarks
from sparkle_app.model.time import EARLIEST, LATEST, span
from sparkle_app.plugin.extents import load_extents
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.extents import Extent
from sparkle_app.storage.retention import repeated_rebuild, watermarks, watermarks_to_rebuild
from sparkle_app.storage.statements import groups_of_hosts

_CHUNK_ROWS = 10_000
"""Number of readings, or of aggregates, that are compared together, from one snapshot: in less than a second. Once
hours and days have been merged, a chunk has at least a day."""
_CHUNK_HOSTS = 500


class Auditor:
    """Compares and repairs the aggregates of one plugin.

    Arguments:
        name: NAME of the plugin.
        plugin: its server half.
        engine: the database.
        bucket_size: bucket size in seconds; aggregates of other sizes are ignored, except hours and days that were
            merged.
        marks: compare what these say is kept and merged; None: what the database's own say.
    """

    def __init__(
        self, name: str, plugin: Plugin, engine: Engine, bucket_size: int, marks: Watermarks | None = None
    ) -> None:
        self._name = name
        self._plugin = plugin
        self._engine = engine
        self._bucket_size = bucket_size
        self._given = marks

    def scope(self, start: int, end: int, hostname: str | None = None) -> Scope:
        """What is stored in the buckets of a time range.

        Arguments:
            hostname: only this host.
        """
        chunk = Chunk((), bucket_start(start, self._bucket_size), ceiling(end, self._bucket_size))
        with read_transaction(self._engine) as connection:
            marks = self._marks(connection)
            unit = max(_resolutions(marks, chunk))
            since = bucket_start(marks[READINGS].kept_since, unit)
            since = min(max(since, chunk.start), chunk.end)
            readings = dict(self._plugin.count_readings(connection, since, chunk.end, hostname))
        # In transactions of their own: as long as one lasts, SQLite's WAL grows. compare() reads again.
        earlier: dict[str, Extent] = {}
        later: dict[str, Extent] = {}
        for resolution in _resolutions(marks, chunk):
            with read_transaction(self._engine) as connection:
                scope = (self._plugin, connection, resolution)
                for found, start, end in ((later, since, chunk.end), (earlier, chunk.start, since)):
                    for each in load_extents(*scope, start, end, hostname):
                        found[each.hostname] = _joined(found.get(each.hostname, each), each)
        # A reading has three aggregates at most: those of its bucket, its hour and its day.
        sparse = {name: each for name, each in later.items() if each.rows > 3 * readings.get(name, 0)}
        readings = {name: number for name, number in readings.items() if name not in sparse}
        return Scope(chunk.start, chunk.end, unit, since, readings, earlier, sparse)

    def knows(self, hostname: str) -> bool:
        """Whether a host has stored readings or aggregates."""
        found = self.scope(EARLIEST, LATEST, hostname)
        return bool(found.hosts)

    def compare(self, scope: Scope) -> Iterator[ChunkResult]:
        """Compare the aggregates of a scope, chunk by chunk.

        No transaction is open while the caller has a chunk: the server would end one that is idle for long.
        """
        yield from self._compare_extents(scope, scope.earlier, scope.start, scope.readings_since)
        yield from self._compare_extents(scope, scope.sparse, scope.readings_since, scope.end)
        for group in groups_of_hosts(scope.readings, _CHUNK_ROWS, _CHUNK_HOSTS):
            at, rows = scope.readings_since, _CHUNK_ROWS
            while at < scope.end:
                with read_transaction(self._engine) as connection:
                    cut = scope.end
                    if scope.readings[group[0]] > _CHUNK_ROWS:
                        cut = self._plugin.event_time_after(connection, group[0], at, scope.end, rows)
                        cut = cut if cut == scope.end else bucket_start(cut, scope.unit)
                        if cut <= at:
                            rows *= 2
                            continue
                    result = self._result(connection, Chunk(group, at, cut))
                yield result
                at = cut

    def _compare_extents(
        self, scope: Scope, found: Mapping[str, Extent], start: int, end: int
    ) -> Iterator[ChunkResult]:
        """Compare hosts that have few readings in a time range, or none, divided by their aggregates."""
        rows = {name: extent.rows for name, extent in found.items()}
        for group in groups_of_hosts(rows, _CHUNK_ROWS, _CHUNK_HOSTS):
            extents = [found[name] for name in group]
            first = max(bucket_start(min(each.first for each in extents), scope.unit), start)
            last = max(each.last for each in extents)
            chunks = -(-sum(each.rows for each in extents) // _CHUNK_ROWS)
            width = max(ceiling((last - first) // chunks, scope.unit), span(scope.unit))
            # The readings before the first aggregate and after the last one are in the first chunk and in the last one.
            at, cut = start, bucket_start(first, scope.unit) + width
            while at < end:
                cut = cut if cut <= last else end
                with read_transaction(self._engine) as connection:
                    result = self._result(connection, Chunk(group, at, cut, by_aggregates=True))
                yield result
                at, cut = cut, cut + width

    def recheck(self, differences: Sequence[Difference]) -> dict[AggregateKey, Difference]:
        """Compare again where differences were found on one chunk; returns those that exist now, by key."""
        chunk = _around([each.key for each in differences])
        with read_transaction(self._engine) as connection:
            found = [each for level in self._levels(connection, chunk) for each in level.differences]
        return {each.key: each for each in found}

    def repair(self, result: ChunkResult) -> int:
        """Recompute the aggregates that differ, in one transaction; returns how many were repaired.

        Hours and days that contain a repaired bucket are repaired as well. An aggregate without stored readings is not
        changed, even if others of the same bucket are repaired. What is not kept any more is not stored again.
        """
        keys = [each.key for each in result.differences if not each.without_readings]
        if not keys:
            return 0
        return repeated_rebuild(lambda: self._recompute(result.chunk, keys))

    def _recompute(self, chunk: Chunk, keys: Sequence[AggregateKey]) -> int:
        repaired = 0
        with self._engine.begin() as connection:
            starts = [key.start for key in keys if key.resolution == self._bucket_size]
            marks = watermarks_to_rebuild(connection, self._name, self._bucket_size, starts)
            since = max(marks[each].kept_since for each in (READINGS, self._bucket_size))
            buckets = [key for key in keys if key.resolution == self._bucket_size and key.start >= since]
            if buckets:
                self._delete(connection, self._bucket_size, buckets)
                start = max(chunk.start, ceiling(since, self._bucket_size))
                repaired = self._plugin.fill_aggregates(
                    connection, chunk.hostnames, self._bucket_size, start, chunk.end
                )
            return repaired + self._merge(connection, marks, keys)

    def _merge(self, connection: Connection, marks: Watermarks, keys: Sequence[AggregateKey]) -> int:
        """Store the hours and days that differ, of those in ``keys`` and of those with buckets in ``keys``."""
        merged = [each for each in marks.resolutions if each != self._bucket_size]
        wanted = {
            (key.hostname, bucket_start(key.start, resolution), key.metric, resolution)
            for key in keys
            for resolution in merged
            if key.resolution <= resolution
        }
        if not wanted:
            return 0
        repaired = 0
        chunk = _around([AggregateKey(*each) for each in wanted])
        # Whoever merges at present may have read what has just been repaired.
        for level in levels(self._plugin, connection, marks.as_if_all_merged(), chunk):
            found = {
                each.key: each.computed
                for each in level.differences
                if each.key in wanted and each.computed is not None
            }
            if found:
                self._delete(connection, level.resolution, list(found))
                rows = [
                    AggregateRow(key.hostname, key.metric, key.resolution, key.start, statistics)
                    for key, statistics in found.items()
                ]
                self._plugin.store_aggregates(connection, rows)
            repaired += len(found)
        return repaired

    def _delete(self, connection: Connection, resolution: int, keys: Sequence[AggregateKey]) -> None:
        names = [(key.hostname, key.start, key.metric) for key in keys]
        self._plugin.delete_aggregates(connection, resolution, names)

    def _levels(self, connection: Connection, chunk: Chunk) -> Iterator[Level]:
        return levels(self._plugin, connection, self._marks(connection), chunk)

    def _marks(self, connection: Connection) -> Watermarks:
        return self._given or watermarks(connection, self._name, self._bucket_size)

    def _result(self, connection: Connection, chunk: Chunk) -> ChunkResult:
        buckets, *merged = self._levels(connection, chunk)
        return ChunkResult(
            chunk,
            buckets.readings,
            sum(len(level.stored) for level in (buckets, *merged)),
            {key: each for level in (buckets, *merged) for key, each in level.not_verifiable.items()},
            [each for level in (buckets, *merged) for each in level.differences],
        )


def _resolutions(marks: Watermarks, chunk: Chunk) -> list[int]:
    """Those of which aggregates are compared."""

    def compared(resolution: int) -> bool:
        first, last = chunk.whole(resolution)
        return first < min(last, marks[resolution].merged_until)

    return [each for each in marks.resolutions if each == marks.bucket_size or compared(each)]


def _around(keys: Sequence[AggregateKey]) -> Chunk:
    """The chunk with these aggregates, and with all that they are computed from."""
    unit = max(key.resolution for key in keys)
    end = max(key.start + span(key.resolution) for key in keys)
    hostnames = sorted({key.hostname for key in keys})
    return Chunk(hostnames, bucket_start(min(key.start for key in keys), unit), ceiling(end, unit))


def _joined(one: Extent, other: Extent) -> Extent:
    if one is other:
        return one
    return Extent(one.hostname, one.rows + other.rows, min(one.first, other.first), max(one.last, other.last))
