"""Compares the aggregates in SQL with aggregates recomputed from stored readings, and repairs those that differ."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from sparkle_app.model.buckets import Statistics, bucket_start
from sparkle_app.model.time import span
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.errors import is_lock_conflict
from sparkle_app.storage.statements import groups_of_hosts

_PAGE_READINGS = 10_000
"""Number of readings that are compared together, from one snapshot: in less than a second."""
_PAGE_HOSTS = 500
_MAX_ATTEMPTS = 5
Key = tuple[str, int, str]
"""Hostname, start of the bucket (microseconds since the epoch) and metric."""


@dataclass(frozen=True)
class Difference:
    """An aggregate that differs from its stored readings."""

    key: Key
    stored: Statistics | None
    """The aggregate in SQL; None: there is none."""
    computed: Statistics | None
    """The aggregate of the stored readings; None: there are no readings."""

    @property
    def lagging(self) -> bool:
        """Whether fewer readings are counted than stored: a worker may still be counting them."""
        return self.computed is not None and (self.stored is None or self.stored.count < self.computed.count)

    @property
    def without_readings(self) -> bool:
        """Whether no stored readings are left: ``rebuild`` does not change the aggregate."""
        return self.computed is None

    @property
    def shrinking(self) -> bool:
        """Whether more readings are counted than stored: ``rebuild`` recomputes the aggregate from the rest."""
        return (
            self.computed is not None and self.stored is not None and self.stored.count > self.computed.count
        )

    def unchanged_since(self, earlier: "Difference") -> bool:
        """Whether both aggregates, stored and computed, are the same as in an earlier comparison."""
        return statistics_equal(self.stored, earlier.stored) and statistics_equal(
            self.computed, earlier.computed
        )


@dataclass(frozen=True)
class Page:
    """Hosts and a time range that are compared in one transaction."""

    hostnames: Sequence[str]
    start: int
    end: int


@dataclass(frozen=True)
class PageResult:
    """The result of comparing one page."""

    page: Page
    readings: int
    aggregates: int
    differences: Sequence[Difference]


class Auditor:
    """Compares and repairs the aggregates of one plugin.

    Arguments:
        plugin: the plugin's server half.
        engine: the database.
        bucket_size: bucket size in seconds; aggregates of other sizes are ignored.
    """

    def __init__(self, plugin: Plugin, engine: Engine, bucket_size: int) -> None:
        self._plugin = plugin
        self._engine = engine
        self._bucket_size = bucket_size
        self._length = span(bucket_size)

    def hosts(self, start: int, end: int, hostname: str | None = None) -> dict[str, int]:
        """Hosts with stored readings or aggregates in the buckets of a time range, and their number of readings.

        Arguments:
            hostname: only this host.
        """
        start, end = self._align_to_buckets(start, end)
        with read_transaction(self._engine) as connection:
            hosts = dict(self._plugin.count_readings(connection, start, end, hostname))
        # In a transaction of its own: as long as one lasts, SQLite's WAL grows. compare() reads again.
        with read_transaction(self._engine) as connection:
            scope = (self._bucket_size, start, end, hostname)
            for each, _, _ in self._plugin.count_aggregates(connection, *scope):
                hosts.setdefault(each, 0)
        return hosts

    def compare(self, hosts: Mapping[str, int], start: int, end: int) -> Iterator[PageResult]:
        """Compare the aggregates of ``hosts``, as :meth:`hosts` returns them, in a time range, page by page.

        The range is extended to whole buckets, because an aggregate covers a whole bucket.
        """
        start, end = self._align_to_buckets(start, end)
        for group in groups_of_hosts(hosts, _PAGE_READINGS, _PAGE_HOSTS):
            at, rows = start, _PAGE_READINGS
            while at < end:
                with read_transaction(self._engine) as connection:
                    cut = end
                    if hosts[group[0]] > _PAGE_READINGS:
                        cut = self._plugin.event_time_after(connection, group[0], at, end, rows)
                        # A page ends at the end of a bucket.
                        cut = end if cut == end else bucket_start(cut, self._bucket_size)
                        if cut <= at:
                            rows *= 2
                            continue
                    page = Page(group, at, cut)
                    stored, computed = self._stored(connection, page), self._computed(connection, page)
                readings = sum(statistics.count for statistics in computed.values())
                yield PageResult(page, readings, len(stored), _differences(stored, computed))
                at = cut

    def recheck(self, differences: Sequence[Difference]) -> dict[Key, Difference]:
        """Compare again where differences were found on one page; returns those that exist now, by key."""
        hostnames = sorted({each.key[0] for each in differences})
        starts = [each.key[1] for each in differences]
        page = Page(hostnames, min(starts), max(starts) + self._length)
        with read_transaction(self._engine) as connection:
            stored, computed = self._stored(connection, page), self._computed(connection, page)
        return {each.key: each for each in _differences(stored, computed)}

    def repair(self, result: PageResult) -> int:
        """Recompute the aggregates that differ, in one transaction; returns how many were repaired.

        An aggregate without stored readings is not changed, even if others of the same bucket are repaired.
        """
        keys = [each.key for each in result.differences if not each.without_readings]
        if not keys:
            return 0
        for _ in range(_MAX_ATTEMPTS - 1):
            try:
                return self._recompute(result.page, keys)
            except DBAPIError as error:
                if not is_lock_conflict(error):
                    raise
        return self._recompute(result.page, keys)

    def _recompute(self, page: Page, keys: Sequence[Key]) -> int:
        with self._engine.begin() as connection:
            # DELETE locks the rows. Readings that were committed before are aggregated below, and an aggregate that a
            # worker stores afterwards counts at least as many.
            self._plugin.delete_aggregates(connection, self._bucket_size, keys)
            return self._plugin.fill_aggregates(
                connection, page.hostnames, self._bucket_size, page.start, page.end
            )

    def _align_to_buckets(self, start: int, end: int) -> tuple[int, int]:
        after = bucket_start(end, self._bucket_size)
        return bucket_start(start, self._bucket_size), after if after == end else after + self._length

    def _stored(self, connection: Connection, page: Page) -> dict[Key, Statistics]:
        rows = self._plugin.load_aggregates(
            connection, page.hostnames, None, self._bucket_size, page.start, page.end
        )
        return {(row.hostname, row.bucket_start, row.metric): row.statistics for row in rows}

    def _computed(self, connection: Connection, page: Page) -> dict[Key, Statistics]:
        rows = self._plugin.compute_aggregates(
            connection, page.hostnames, self._bucket_size, page.start, page.end
        )
        return {(row.hostname, row.bucket_start, row.metric): row.statistics for row in rows}


def _differences(stored: Mapping[Key, Statistics], computed: Mapping[Key, Statistics]) -> list[Difference]:
    return [
        Difference(key, stored.get(key), computed.get(key))
        for key in sorted(stored.keys() | computed.keys())
        if not statistics_equal(stored.get(key), computed.get(key))
    ]


def statistics_equal(one: Statistics | None, other: Statistics | None) -> bool:
    """Whether two aggregates are equal, up to rounding of the sum."""
    if one is None or other is None:
        return one is other
    return (one.count, one.minimum, one.maximum, one.last, one.last_at) == (
        other.count,
        other.minimum,
        other.maximum,
        other.last,
        other.last_at,
    ) and _sums_equal(one, other)


def _sums_equal(one: Statistics, other: Statistics) -> bool:
    # Floating-point sums depend on the order of addition, which is not defined; with values of both signs, they may be
    # much smaller than what was rounded.
    rounded = max(abs(one.minimum), abs(one.maximum))
    return (
        math.isclose(one.sum, other.sum, rel_tol=1e-9, abs_tol=1e-9)
        # A damaged row may have a count of 0.
        or abs(one.sum - other.sum) / max(one.count, 1) <= rounded * 1e-9
    )
