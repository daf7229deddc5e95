"""How complete the readings of a host are, measured by its own interval."""

from collections.abc import Iterable

import msgspec


class Gap(msgspec.Struct, frozen=True):
    """A time without readings that lasted longer than the interval. Times are microseconds since the epoch."""

    start: int
    end: int
    missing: int
    """How many times the host should have sent readings."""


class Completeness(msgspec.Struct, frozen=True):
    """How often a host sent readings in a time range."""

    expected: int
    """How often it should have."""
    gaps: list[Gap]
    """In order of time."""

    @property
    def missing(self) -> int:
        """How often it did not."""
        return sum(gap.missing for gap in self.gaps)

    @property
    def ratio(self) -> float:
        """From 0 to 1."""
        return 1 - self.missing / self.expected if self.expected else 1.0


def completeness(starts: Iterable[int], bucket: int, interval: int, start: int, end: int) -> Completeness:
    """The completeness of the range ``start`` to ``end``.

    A host does not send at fixed times: its interval drifts with the time that measuring takes. So what counts is the
    time between readings, not whether each interval of a grid has some. Readings that are missing within a bucket that
    has some are not noticed.

    Arguments:
        starts: of the buckets with readings, in order of time.
        bucket: bucket size, microseconds: how exactly the time of a reading is known.
        interval: usual time between readings, microseconds.
    """
    gaps: list[Gap] = []

    def add(since: int, until: int, due: int) -> None:
        # ``due`` of the times in between are missing; a delay of less than half an interval is none.
        if due > 0:
            gaps.append(Gap(since, until, due))

    # From the start of one bucket to that of the next with readings, without a gap: if buckets are longer than the
    # interval, the readings of a bucket go on to its end; if they are shorter, its one reading is anywhere in it.
    usual = max(bucket, (bucket + interval) // 2)
    last = None
    for at in starts:
        if last is None:
            # One whole interval may pass before the first reading, and after the last one.
            add(start, at, (at - start) // interval)
        else:
            add(last + bucket, at, (at - last - usual) // interval)
        last = at
    if last is None:
        add(start, end, (end - start) // interval)
    else:
        add(last + bucket, end, (end - last - bucket) // interval)
    return Completeness(
        max((end - start + interval // 2) // interval, sum(gap.missing for gap in gaps)), gaps
    )
