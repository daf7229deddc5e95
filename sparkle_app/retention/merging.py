"""The first part of a run: merges the hours and days that have ended."""

from collections.abc import Generator, Iterator

from sqlalchemy import Connection

from sparkle_app.model.buckets import bucket_start
from sparkle_app.model.retention import DAY, MERGED_AT_ONCE
from sparkle_app.model.time import span
from sparkle_app.plugin.merging import merged_rows
from sparkle_app.retention.plugin_rows import PluginRows
from sparkle_app.retention.steps import Action, Piece, Pieces, Portion, Step, in_transactions
from sparkle_app.storage.retention import watermarks

_FIRST_HOSTS = 0.05
"""An hour of a day of a host: nobody knows yet how many rows it has."""


class Merging:
    """Merges the hours, or the days, of one plugin.

    Arguments:
        rows: what it is merged from and stored in.
        resolution: seconds.
    """

    def __init__(self, rows: PluginRows, resolution: int) -> None:
        self._rows = rows
        self._resolution = resolution
        self._portion = Portion(_FIRST_HOSTS)
        self._day = 0
        """What begins before this time has been merged."""

    def run(self, now: int) -> Iterator[Step]:
        """Merge what has ended.

        Arguments:
            now: as of :meth:`Watermarks.may_be_merged_until`.
        """
        marks = self._rows.marks()
        until = marks.may_be_merged_until(self._resolution, now)
        start = marks[self._resolution].merged_until
        if start >= until:
            return
        if not start:
            start = self._first_day(until)
        # A plugin that stores aggregates itself has to list those of the time range.
        length = MERGED_AT_ONCE if self._rows.default_aggregates else DAY
        while start < until:
            end = min(until, bucket_start(start, DAY) + span(length))
            self._rows.advance(self._resolution, merging_until=end)
            number = yield from self._range(start, end)
            self._rows.advance(self._resolution, merged_until=end)
            start = end if number else self._after_pause(end, until)

    def _range(self, start: int, end: int) -> Generator[Step, None, int]:
        """Merge what is in a time range; returns the number of rows."""
        hosts, number, merged = self._rows.hosts(start, end), 0, start
        while start < end:
            self._day = start
            days = self._days(hosts, end)
            for step in in_transactions(self._rows.engine, Action.MERGE, self._resolution, days, self._merge):
                number += step.rows
                # What is merged is not merged again after an interruption.
                if self._day > merged:
                    merged = self._day
                    self._rows.advance(self._resolution, merged_until=merged)
                yield step
            start = self._next_day(self._day, end)
        return number

    def _days(self, hosts: list[str], end: int) -> Pieces:
        """All days, or those up to the first one without rows: the next one with rows is searched in no transaction."""
        rows, merged = 0, 1
        while merged and self._day < end:
            midnight = min(end, bucket_start(self._day, DAY) + span(DAY))
            merged = yield from self._portion.pieces(hosts, self._day, midnight, span(self._resolution))
            rows += merged
            self._day = midnight
        return rows

    def _next_day(self, start: int, end: int) -> int:
        """The next day with rows. Late readings of those before are merged by whoever stores them."""
        if not self._rows.default_aggregates or start >= end:
            return start
        found = self._rows.first_source(self._resolution, end, start)
        return end if found is None else bucket_start(found, DAY)

    def _merge(self, connection: Connection, piece: Piece) -> int:
        rows = self._rows
        # In one transaction: a host whose rows were given to another name meanwhile would be counted twice.
        marks = watermarks(connection, rows.name, rows.bucket_size, lock=True)
        if not marks.keeps(self._resolution, piece.start):
            return 0
        merged = merged_rows(rows.plugin, connection, marks, piece.hostnames, self._resolution, *piece[1:])
        if merged:
            rows.plugin.store_aggregates(connection, merged)
        return len(merged)

    def _first_day(self, until: int) -> int:
        """Where the first run begins. The watermarks are at the end of that day, or at ``until``."""
        first = self._rows.first_source(self._resolution, until)
        end = until if first is None else min(until, bucket_start(first, DAY) + span(DAY))
        self._rows.advance(self._resolution, merging_until=end)
        # Again: a transaction that had read the old watermarks may have stored earlier ones meanwhile.
        first = self._rows.first_source(self._resolution, end)
        if first is not None:
            return bucket_start(first, self._resolution)
        self._rows.advance(self._resolution, merged_until=end)
        return end

    def _after_pause(self, start: int, until: int) -> int:
        """Where to continue after days without rows: one row of a wrong clock may be decades before the next."""
        end = self._next_day(start, until)
        if end <= start:
            return start
        self._rows.advance(self._resolution, merging_until=end)
        # Again: a transaction that had read the old watermarks may have stored rows in between.
        if self._rows.first_source(self._resolution, end, start) is not None:
            return start
        self._rows.advance(self._resolution, merged_until=end)
        return end
