"""An aggregate in SQL that is not what its readings, or finer aggregates, give."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from sparkle_app.model.buckets import Statistics


class AggregateKey(NamedTuple):
    """What identifies an aggregate of a plugin."""

    hostname: str
    start: int
    """Of the bucket, microseconds since the epoch."""
    metric: str
    resolution: int
    """Bucket size, seconds."""


@dataclass(frozen=True)
class Difference:
    """An aggregate that differs from what it is computed from: stored readings, or finer aggregates."""

    key: AggregateKey
    stored: Statistics | None
    """The aggregate in SQL; None: there is none."""
    computed: Statistics | None
    """What it should be; None: there is nothing to compute it from."""

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
