"""Are the aggregates in SQL those of the raw rows? Found out, and repaired, by aggregating the raw rows again."""

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

_PAGE = 50_000
"""Raw rows that are looked at together."""
_HOSTS = 500
_TRIES = 5
Key = tuple[str, int, str]
"""Hostname, bucket's start and metric."""


@dataclass(frozen=True)
class Difference:
    """An aggregate that is not that of its raw rows."""

    key: Key
    stored: Statistics | None
    """What SQL holds; None: nothing."""
    computed: Statistics | None
    """What the raw rows give; None: there are none."""

    @property
    def behind(self) -> bool:
        """Whether fewer readings are counted than there are: their aggregate may yet come."""
        return self.computed is not None and (self.stored is None or self.stored.count < self.computed.count)

    def same_as(self, other: "Difference") -> bool:
        """Whether nothing has changed since ``other``."""
        return same(self.stored, other.stored) and same(self.computed, other.computed)


@dataclass(frozen=True)
class Page:
    """Some hosts and a time: everything of them is looked at together."""

    hostnames: Sequence[str]
    start: int
    end: int


@dataclass(frozen=True)
class PageResult:
    """What was found in a page."""

    page: Page
    readings: int
    aggregates: int
    differences: Sequence[Difference]


class Auditor:
    """Compares one plugin's aggregates with its raw rows.

    Arguments:
        plugin: the plugin's server half.
        engine: the database.
        bucket_size: length of the buckets that are compared, seconds.
    """

    def __init__(self, plugin: Plugin, engine: Engine, bucket_size: int) -> None:
        self._plugin = plugin
        self._engine = engine
        self._bucket_size = bucket_size
        self._length = span(bucket_size)

    def hosts(self, start: int, end: int, hostname: str | None = None) -> dict[str, int]:
        """Hosts that have raw rows or aggregates in the buckets of a time, and the number of their raw rows.

        Arguments:
            hostname: only this one, if it has any.
        """
        start, end = self._whole_buckets(start, end)
        with read_transaction(self._engine) as connection:
            found = dict(self._plugin.count_readings(connection, start, end, hostname))
            scope = (self._bucket_size, start, end, hostname)
            for each, _, _ in self._plugin.count_aggregates(connection, *scope):
                found.setdefault(each, 0)
        return found

    def compare(self, hosts: Mapping[str, int], start: int, end: int) -> Iterator[PageResult]:
        """Compare everything of some hosts (with the number of their raw rows) that lies in the buckets of a time.

        Buckets that it only touches are taken whole: a part of one gives another aggregate.
        """
        start, end = self._whole_buckets(start, end)
        for group in _groups(hosts):
            at, rows = start, _PAGE
            while at < end:
                with read_transaction(self._engine) as connection:
                    cut = end
                    if hosts[group[0]] > _PAGE:
                        cut = self._plugin.event_time_after(connection, group[0], at, end, rows)
                        # Only buckets that are on the page as a whole.
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
        """What is left, now, of differences that were found in one page."""
        hostnames = sorted({each.key[0] for each in differences})
        starts = [each.key[1] for each in differences]
        page = Page(hostnames, min(starts), max(starts) + self._length)
        with read_transaction(self._engine) as connection:
            stored, computed = self._stored(connection, page), self._computed(connection, page)
        return {each.key: each for each in _differences(stored, computed)}

    def repair(self, result: PageResult) -> int:
        """Store what the raw rows give where it differs, in one transaction; how many aggregates were repaired.

        Aggregates whose raw rows are all gone are left as they are, also beside others of their bucket.
        """
        keys = [each.key for each in result.differences if each.computed]
        if not keys:
            return 0
        for _ in range(_TRIES - 1):
            try:
                return self._recompute(result.page, keys)
            except DBAPIError as error:
                if not is_lock_conflict(error):
                    raise
        return self._recompute(result.page, keys)

    def _recompute(self, page: Page, keys: Sequence[Key]) -> int:
        with self._engine.begin() as connection:
            # To take the rows out locks them: what was committed until then is in the raw rows below, and what a worker
            # stores later counts at least as many.
            self._plugin.delete_aggregates(connection, self._bucket_size, keys)
            return self._plugin.fill_aggregates(
                connection, page.hostnames, self._bucket_size, page.start, page.end
            )

    def _whole_buckets(self, start: int, end: int) -> tuple[int, int]:
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


def _groups(hosts: Mapping[str, int]) -> Iterator[list[str]]:
    """Hosts that fit on a page together; one that fills a page is alone, and read in the order of its index."""
    group: list[str] = []
    rows = 0
    for hostname, count in sorted(hosts.items()):
        if group and (rows + count > _PAGE or len(group) == _HOSTS):
            yield group
            group, rows = [], 0
        group.append(hostname)
        rows += count
    if group:
        yield group


def _differences(stored: Mapping[Key, Statistics], computed: Mapping[Key, Statistics]) -> list[Difference]:
    return [
        Difference(key, stored.get(key), computed.get(key))
        for key in sorted(stored.keys() | computed.keys())
        if not same(stored.get(key), computed.get(key))
    ]


def same(one: Statistics | None, other: Statistics | None) -> bool:
    """Whether two aggregates are equal."""
    if one is None or other is None:
        return one is other
    # The order in which floating-point numbers are added is not promised.
    return math.isclose(one.sum, other.sum, rel_tol=1e-9, abs_tol=1e-9) and (
        one.count,
        one.minimum,
        one.maximum,
        one.last,
        one.last_at,
    ) == (other.count, other.minimum, other.maximum, other.last, other.last_at)
