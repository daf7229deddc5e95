"""Stored readings and aggregates in pages of bounded size, each in a transaction of its own.

A single long transaction would keep the database from removing old versions of rows: on SQLite the WAL, on PostgreSQL
the tables would grow meanwhile. Rows come in the order of hostnames; what is stored while the pages are read may be
among them or not, and what was stored before is, once.
"""

from collections.abc import Collection, Iterator, Sequence

from sqlalchemy import Engine

from sparkle_app.model.buckets import AggregateRow
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.time import span
from sparkle_app.plugin.default_tables import counts_default_aggregates
from sparkle_app.plugin.extents import load_extents
from sparkle_app.plugin.history import Position, load_page
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.extents import Extent, select_aggregated_metrics
from sparkle_app.storage.statements import groups_of_hosts

PAGE_ROWS = 10_000
_PAGE_HOSTS = 500
_PAGE_BUCKETS = 500
"""Of all metrics together, if the plugin's own methods load aggregates."""


class ReadingPages:
    """The stored readings of a plugin with ``start <= observed_at < end``.

    Arguments:
        hostnames: only these hosts; empty: all.
    """

    def __init__(
        self, plugin: Plugin, engine: Engine, hostnames: Collection[str], start: int, end: int
    ) -> None:
        self._plugin, self._engine = plugin, engine
        self._start, self._end = start, end
        with read_transaction(engine) as connection:
            self.hosts = {
                hostname: count
                for name in hostnames or (None,)
                for hostname, count in plugin.count_readings(connection, start, end, name)
            }
        """The hosts that have any, and how many of these."""
        self.rows = sum(self.hosts.values())
        """How many there are at first."""

    def __iter__(self) -> Iterator[Sequence[StoredReading]]:
        for hosts in groups_of_hosts(self.hosts, PAGE_ROWS, _PAGE_HOSTS):
            if self.hosts[hosts[0]] > PAGE_ROWS:
                yield from self._of_one_host(hosts[0])
                continue
            with read_transaction(self._engine) as connection:
                page = list(self._plugin.load_readings(connection, hosts, self._start, self._end))
            yield sorted(page, key=lambda each: (each.hostname, each.observed_at, each.id))

    def _of_one_host(self, hostname: str) -> Iterator[Sequence[StoredReading]]:
        after: Position | None = None
        while True:
            with read_transaction(self._engine) as connection:
                page = list(
                    load_page(self._plugin, connection, hostname, self._start, self._end, PAGE_ROWS, after)
                )
            yield page
            if len(page) < PAGE_ROWS:
                return
            after = page[-1].observed_at, page[-1].id


class AggregatePages:
    """The stored aggregates of a plugin with ``start <= bucket_start < end``.

    Arguments:
        resolution: bucket size in seconds.
        hostnames: only these hosts; empty: all.
    """

    def __init__(
        self,
        plugin: Plugin,
        engine: Engine,
        resolution: int,
        hostnames: Collection[str],
        start: int,
        end: int,
    ) -> None:
        self._plugin, self._engine = plugin, engine
        self._resolution, self._start, self._end = resolution, start, end
        with read_transaction(engine) as connection:
            self.hosts = {
                extent.hostname: extent
                for name in hostnames or (None,)
                for extent in load_extents(plugin, connection, resolution, start, end, name)
            }
        """The hosts that have any, and where these are."""
        self.rows = sum(extent.rows for extent in self.hosts.values())
        """How many there are at first; of a plugin with tables of its own, how many buckets."""

    def __iter__(self) -> Iterator[Sequence[AggregateRow]]:
        numbers = {name: extent.rows for name, extent in self.hosts.items()}
        for hosts in groups_of_hosts(numbers, PAGE_ROWS, _PAGE_HOSTS):
            extent = self.hosts[hosts[0]]
            if not counts_default_aggregates(self._plugin):
                for name in hosts:
                    yield from self._slices(self.hosts[name], None, _PAGE_BUCKETS)
            elif extent.rows > PAGE_ROWS:
                for metric in self._metrics(extent.hostname):
                    # One row a bucket.
                    yield from self._slices(extent, metric, PAGE_ROWS)
            else:
                yield self._load(hosts, None, self._start, self._end)

    def _metrics(self, hostname: str) -> list[str]:
        table = self._plugin.Aggregates.__table__
        with read_transaction(self._engine) as connection:
            return select_aggregated_metrics(
                connection, table, hostname, self._resolution, self._start, self._end
            )

    def _slices(self, extent: Extent, metric: str | None, buckets: int) -> Iterator[Sequence[AggregateRow]]:
        width = span(self._resolution) * buckets
        for at in range(extent.first, extent.last + 1, width):
            # A bucket that is newer than the extent, in the last slice, may be among them.
            yield self._load([extent.hostname], metric, at, min(at + width, self._end))

    def _load(
        self, hostnames: Sequence[str], metric: str | None, start: int, end: int
    ) -> Sequence[AggregateRow]:
        with read_transaction(self._engine) as connection:
            page = self._plugin.load_aggregates(connection, hostnames, metric, self._resolution, start, end)
            return sorted(page, key=lambda each: (each.hostname, each.metric, each.bucket_start))
