"""How long readings and aggregates are kept: what the watermarks of a plugin mean, without I/O.

Aggregates of hours and days are merged from finer ones. Time is divided at UTC midnight: of each day, and so of each
hour, either all rows of a resolution are kept, or none is.
"""

from collections.abc import Iterable, Mapping

import msgspec

from sparkle_app.model.buckets import bucket_start

READINGS = 0
"""Stands for stored readings where a resolution is expected."""
HOUR = 3600
DAY = 86_400


def merged_resolutions(bucket_size: int) -> tuple[int, ...]:
    """The resolutions that are merged from buckets of this size, finest first; all in seconds."""
    return tuple(each for each in (HOUR, DAY) if each > bucket_size and each % bucket_size == 0)


class Watermark(msgspec.Struct, frozen=True):
    """The state of the rows of one resolution; microseconds since the epoch. Nothing in it ever decreases."""

    complete_since: int = 0
    """Of buckets: earlier ones may lack readings that were aggregated in buckets of another size."""
    kept_since: int = 0
    """Rows that begin before this time have been deleted or are being deleted. None of them is stored any more."""
    deleted_until: int = 0
    """Rows that begin before this time have been deleted. At most ``kept_since``."""
    merging_until: int = 0
    """Of hours and days: those before this time have been merged or are being merged. Whoever changes what they are
    merged from merges them again, in the same transaction."""
    merged_until: int = 0
    """Of hours and days: those before this time have been merged. At most ``merging_until``."""


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

    def to_merge_again(self, starts: Iterable[int]) -> dict[int, set[int]]:
        """The starts of hours and days that have to be merged again after buckets have changed, by resolution.

        Finest first: days may be merged from hours.

        Arguments:
            starts: of the changed buckets, which are accepted.
        """
        found: dict[int, set[int]] = {}
        for start in starts:
            for resolution in merged_resolutions(self.bucket_size):
                at = bucket_start(start, resolution)
                if at < self[resolution].merging_until and self.keeps(resolution, at):
                    found.setdefault(resolution, set()).add(at)
        return dict(sorted(found.items()))
