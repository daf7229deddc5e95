"""Gives everything that is stored of a host to another name, exactly."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from sparkle_app.audit.auditor import Auditor
from sparkle_app.model.buckets import AggregateRow, Statistics, bucket_start, merge_into
from sparkle_app.model.retention import MERGED_AT_ONCE, READINGS, Watermarks, merged_resolutions
from sparkle_app.model.time import EARLIEST, LATEST, span
from sparkle_app.plugin.merging import merge
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.renames import (
    CommonSeries,
    common_buckets,
    common_series,
    count_host_rows,
    move_rows,
    rename_activity,
    rename_series,
)
from sparkle_app.storage.retention import watermarks, watermarks_to_rebuild
from sparkle_app.storage.statements import chunks

# Read together: a day of minutes.
_BUCKETS = 1_440


class HostRows(NamedTuple):
    """What a plugin has stored of a host."""

    readings: int
    aggregates: int
    common: int
    """Aggregates of buckets of which the other name has an aggregate, too."""


class Renaming:
    """Gives the readings, the aggregates and the row in the table of hosts of one name to another.

    No worker may run meanwhile: its tables of buckets have the old name, and readings that it has read may carry it.
    One that is suspended recomputes what it has counted before it stores it.
    ``retain`` and ``rebuild`` may: they read and write in one transaction.

    Arguments:
        plugins: all that have tables, by NAME.
    """

    def __init__(self, plugins: Mapping[str, Plugin], old: str, new: str) -> None:
        self._plugins = plugins
        self._old = old
        self._new = new

    def count(self, connection: Connection, hostname: str) -> dict[str, HostRows]:
        """What is stored under one of the two names, by NAME of the plugin; only those that have any."""
        other = self._new if hostname == self._old else self._old
        common = _aggregated(common_series(connection, hostname, other))
        found = {}
        for name, plugin in self._plugins.items():
            readings, aggregates = plugin.DataFrame.__table__, plugin.Aggregates.__table__
            rows = HostRows(
                count_host_rows(connection, readings, hostname),
                count_host_rows(connection, aggregates, hostname),
                sum(len(common_buckets(connection, aggregates, each)) for each in common),
            )
            if any(rows):
                found[name] = rows
        return found

    def count_pending(self, engine: Engine, bucket_size: int) -> None:
        """Count readings of the old name that are stored, and that the workers have not counted before they ended.

        Their samples have the old name, under which they are not found any more.

        Arguments:
            bucket_size: in seconds.
        """
        for name, plugin in self._plugins.items():
            auditor = Auditor(name, plugin, engine, bucket_size)
            for result in auditor.compare(auditor.scope(EARLIEST, LATEST, self._old)):
                auditor.repair(
                    replace(result, differences=[each for each in result.differences if each.lagging])
                )

    def apply(self, connection: Connection, bucket_size: int) -> None:
        """Rename, or merge. Rows keep their ids; aggregates of common buckets are merged, which is exact.

        Arguments:
            bucket_size: in seconds.

        Raises:
            DBAPIError: also if what merges hours at the same time does not end in time (``is_lock_conflict``).
        """
        for name in sorted(self._plugins):
            # A worker that is suspended is no member of the group: what it has counted has the old name.
            watermarks_to_rebuild(connection, name, bucket_size, [LATEST])
        common = common_series(connection, self._old, self._new)
        for plugin in self._plugins.values():
            readings, aggregates = plugin.DataFrame.__table__, plugin.Aggregates.__table__
            for series in _aggregated(common):
                for starts in chunks(common_buckets(connection, aggregates, series), _BUCKETS):
                    self._merge(connection, plugin, series, set(starts))
            for table in (readings, aggregates):
                move_rows(connection, table, common)
        rename_series(connection, self._old, self._new)
        rename_activity(connection, self._old, self._new)
        for name, plugin in self._plugins.items():
            self._merge_again(connection, plugin, watermarks(connection, name, bucket_size))

    def _merge_again(self, connection: Connection, plugin: Plugin, marks: Watermarks) -> None:
        """Merge what is being merged at present: the new name may be unknown there."""
        for resolution in merged_resolutions(marks.bucket_size):
            mark = marks[resolution]
            since = max(mark.merged_until, mark.merging_until - span(MERGED_AT_ONCE), mark.kept_since)
            for start in range(bucket_start(since, resolution), mark.merging_until, span(resolution)):
                merge(plugin, connection, marks, [self._new], resolution, start)

    def _merge(self, connection: Connection, plugin: Plugin, series: CommonSeries, starts: set[int]) -> None:
        """Merge the aggregates of some buckets. The plugin stores them: it may have added columns."""
        end = max(starts) + span(series.resolution)
        names = (self._old, self._new)
        merged: dict[int, dict[str, Statistics]] = {}
        for row in plugin.load_aggregates(
            connection, names, series.metric, series.resolution, min(starts), end
        ):
            if row.bucket_start in starts:
                merge_into(merged.setdefault(row.bucket_start, {}), row.metric, row.statistics)
        old = [(self._old, start, series.metric) for start in sorted(starts)]
        plugin.delete_aggregates(connection, series.resolution, old)
        plugin.store_aggregates(connection, list(self._rows(merged, series.resolution)))

    def _rows(self, merged: Mapping[int, dict[str, Statistics]], resolution: int) -> Iterator[AggregateRow]:
        for start, metrics in sorted(merged.items()):
            for metric, statistics in metrics.items():
                yield AggregateRow(self._new, metric, resolution, start, statistics.as_row())


def _aggregated(series: list[CommonSeries]) -> list[CommonSeries]:
    return [each for each in series if each.resolution != READINGS]
