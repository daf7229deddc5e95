"""How long readings and aggregates are kept: what the watermarks of a plugin mean, without I/O.

Aggregates of hours and days are merged from finer ones. Time is divided at UTC midnight: of each day, and so of each
hour, either all rows of a resolution are kept, or none is.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from sparkle_app.model.buckets import bucket_start
from sparkle_app.model.time import span

READINGS = 0
"""Stands for stored readings where a resolution is expected."""
HOUR = 3600
DAY = 86_400
MAX_WINDOW = 7 * DAY
"""The longest window retention, seconds."""
MERGED_AT_ONCE = 30 * DAY
"""For so long, seconds, ``merging_until`` is advanced at once: who stores late readings meanwhile merges as well."""


class ExpiredReason(StrEnum):
    """Why a reading is older than the retention period when it is stored or counted. The value is used in metrics."""

    LATE = "late"
    """Its record was read late, or again."""
    CLOCK = "clock"
    """Its record follows newer ones in its partition: the host's clock is behind, or it was produced again."""
    REPLAY = "replay"
    """Its record was replayed from the dead-letter topic."""
    UNCOUNTED = "uncounted"
    """It was stored, and expired before its sample was read: unless that was read before, no aggregate counts it."""


class ExpiredReading(msgspec.Struct, frozen=True):
    """A reading that is not stored, or not counted, because it is older than the retention period."""

    plugin: str
    """Its NAME."""
    hostname: str
    metric: str
    observed_at: int
    reason: ExpiredReason
    kept_since: int
    """Readings of its plugin are kept since this time, microseconds since the epoch."""


class Retention(msgspec.Struct, frozen=True):
    """How long the rows of a plugin are kept, in seconds; None: for ever."""

    readings: int | None
    buckets: int | None
    hours: int | None
    days: int | None


def merged_resolutions(bucket_size: int) -> tuple[int, ...]:
    """The resolutions that are merged from buckets of this size, finest first; all in seconds."""
    return tuple(each for each in (HOUR, DAY) if each > bucket_size and each % bucket_size == 0)


class Watermark(msgspec.Struct, frozen=True):
    """The state of the rows of one resolution; microseconds since the epoch. Nothing in it ever decreases."""

    complete_since: int = 0
    """Earlier buckets may lack readings that were aggregated in buckets of another size. Also of hours, if these were
    buckets before, or were not merged."""
    kept_since: int = 0
    """Rows that begin before this time have been deleted or are being deleted. None of them is stored any more."""
    deleted_until: int = 0
    """Rows that begin before this time have been deleted. At most ``kept_since``."""
    merging_until: int = 0
    """Of hours and days: those before this time have been merged or are being merged. Whoever changes what they are
    merged from merges them again, in the same transaction."""
    merged_until: int = 0
    """Of hours and days: those before this time have been merged. At most ``merging_until``."""
    rebuilt_at: int = 0
    """Of readings: see :attr:`Watermarks.rebuilt_at`."""


_NONE = Watermark()


class Watermarks(msgspec.Struct, frozen=True):
    """The watermarks of one plugin."""

    bucket_size: int
    """In seconds."""
    known: Mapping[int, Watermark]
    """By resolution: 0 for readings, the bucket size, and those that are merged from buckets."""

    def __getitem__(self, resolution: int) -> Watermark:
        return self.known.get(resolution, _NONE)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Those of aggregates, finest first."""
        return (self.bucket_size, *merged_resolutions(self.bucket_size))

    @property
    def rebuilt_at(self) -> int:
        """When others than workers last changed aggregates, or hosts, that workers may hold in their tables.

        It is another time after each change.
        """
        return self[READINGS].rebuilt_at

    def keeps(self, resolution: int, start: int) -> bool:
        """Whether a row of this resolution that begins at this time is kept, if there is one."""
        return start >= self[resolution].kept_since

    def accepts(self, start: int) -> bool:
        """Whether the aggregates of a bucket may be changed: its readings are kept, so they can be counted."""
        return self.keeps(READINGS, start)

    def source(self, resolution: int, start: int) -> int | None:
        """What the hour or day that begins at this time is merged from.

        Returns:
            The next finer resolution if all rows of it are kept; otherwise READINGS, or None if these are not kept.
        """
        finer = self.resolutions[self.resolutions.index(resolution) - 1]
        if self.keeps(finer, start) and start >= self[finer].complete_since:
            return finer
        return READINGS if self.keeps(READINGS, start) else None

    def sources(self, resolution: int, start: int) -> tuple[int, ...]:
        """As :meth:`source`; also the next finer resolution if its rows are kept, but may lack some readings.

        Of two results, the one that counts more readings is right: readings may have been deleted by hand.
        """
        source = self.source(resolution, start)
        finer = self.resolutions[self.resolutions.index(resolution) - 1]
        found = (finer, source) if source != finer and self.keeps(finer, start) else (source,)
        return tuple(each for each in found if each is not None)

    def to_merge_again(self, start: int) -> list[tuple[int, int]]:
        """Resolution and start of the hour and the day that have to be merged again after a bucket has changed.

        Arguments:
            start: of the bucket, which is accepted, or kept.
        """
        units = ((each, bucket_start(start, each)) for each in merged_resolutions(self.bucket_size))
        return [(each, at) for each, at in units if at < self[each].merging_until and self.keeps(each, at)]

    def may_be_merged_until(self, resolution: int, now: int) -> int:
        """The end of the hours or days that may be merged: all that they are merged from has been merged.

        Arguments:
            now: readings that are older are not expected any more; microseconds since the epoch.
        """
        finer = self.resolutions[self.resolutions.index(resolution) - 1]
        until = now if finer == self.bucket_size else min(now, self[finer].merged_until)
        return bucket_start(until, resolution)

    def expires_before(self, resolution: int, retention: Retention, now: int) -> int:
        """Rows of this resolution that begin before this time may be deleted: what is merged from them has been merged.

        Arguments:
            resolution: 0 for readings.
            now: microseconds since the epoch.
        """
        kept_for = {READINGS: retention.readings, HOUR: retention.hours, DAY: retention.days}
        kept = kept_for.get(resolution, 0)
        if resolution == self.bucket_size:
            # Buckets of an hour are hours, too: some may have been merged from shorter buckets.
            kept = None if None in (kept, retention.buckets) else max(kept or 0, retention.buckets or 0)
        if kept is None:
            return 0
        merged = (
            self[each].merged_until for each in merged_resolutions(self.bucket_size) if each > resolution
        )
        return max(bucket_start(min((now - span(kept), *merged)), DAY), 0)

    def as_if_all_merged(self) -> "Watermarks":
        """What they are once everything has been merged that is being merged."""
        marks = {
            each: msgspec.structs.replace(mark, merged_until=mark.merging_until)
            for each, mark in self.known.items()
        }
        return Watermarks(self.bucket_size, marks)

    def as_if_merged(self, now: int) -> "Watermarks":
        """What the watermarks are once all hours and days have been merged that may be.

        Arguments:
            now: as of :meth:`may_be_merged_until`.
        """
        found = self
        for resolution in merged_resolutions(self.bucket_size):
            until = max(found[resolution].merged_until, found.may_be_merged_until(resolution, now))
            mark = msgspec.structs.replace(found[resolution], merged_until=until)
            found = Watermarks(self.bucket_size, {**found.known, resolution: mark})
        return found
