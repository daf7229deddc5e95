"""Buckets of event time: what an aggregate is, pure.

A bucket holds one host's readings of ``bucket_seconds``: for each metric its statistics, and the ids of the readings
that were counted, so that a repeat of any kind is recognised. The ids make every operation one on sets: adding a
reading twice, or in another order, gives the same bucket.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from sparkle_app.model.sample import Sample
from sparkle_app.model.time import span


class Statistics(msgspec.Struct, array_like=True, gc=False):
    """What is known of one metric: ``average`` is ``sum / count``."""

    count: int
    sum: float
    minimum: float
    maximum: float
    last: float
    last_at: int
    """Event time of ``last``, microseconds since the epoch."""

    @classmethod
    def of(cls, value: float, at: int) -> "Statistics":
        """The statistics of a single reading."""
        return cls(1, value, value, value, value, at)

    def merge(self, other: "Statistics") -> None:
        """Count ``other``'s readings, which must be different ones, as well."""
        self.count += other.count
        self.sum += other.sum
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        # Of two readings at one instant the larger is the last, so that the order of arrival does not matter.
        self.last_at, self.last = max((self.last_at, self.last), (other.last_at, other.last))


class Bucket(msgspec.Struct, array_like=True):
    """One host's readings in one bucket."""

    ids: set[bytes] = msgspec.field(default_factory=set)
    metrics: dict[str, Statistics] = msgspec.field(default_factory=dict)

    def add(self, sample: Sample) -> bool:
        """Count a sample, if it has not been counted yet; say whether it was counted now."""
        if sample.id in self.ids:
            return False
        self.ids.add(sample.id)
        merge_into(self.metrics, sample.metric, Statistics.of(sample.value, sample.observed_at))
        return True

    def pack(self) -> bytes:
        """MessagePack, small, since a table holds very many.

        The ids are one string of bytes, times are counted from the earliest, and a metric with one reading is no more
        than that: most hosts send once in a bucket.
        """
        first = min((statistics.last_at for statistics in self.metrics.values()), default=0)
        metrics = {
            name: (each.last_at - first, each.last)
            if each.count == 1
            else (each.last_at - first, each.last, each.count, each.sum, each.minimum, each.maximum)
            for name, each in self.metrics.items()
        }
        return _encoder.encode((b"".join(sorted(self.ids)), first, metrics))

    @classmethod
    def unpack(cls, packed: bytes) -> "Bucket":
        """The inverse of :meth:`pack`."""
        ids, first, metrics = _decoder.decode(packed)
        return cls({ids[i : i + _ID] for i in range(0, len(ids), _ID)}, _unpacked(first, metrics))


class AggregateRow(msgspec.Struct, frozen=True, gc=False):
    """One metric of one bucket, as SQL holds it."""

    hostname: str
    metric: str
    resolution: int
    """Length of the bucket, seconds."""
    bucket_start: int
    """Microseconds since the epoch."""
    statistics: Statistics


_ID = 8
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[bytes, int, dict[str, list[Any]]])
_decoder_of_ids = msgspec.msgpack.Decoder(tuple[bytes, msgspec.Raw, msgspec.Raw])


def count_of(packed: bytes) -> int:
    """How many readings a packed bucket has counted."""
    return len(_decoder_of_ids.decode(packed)[0]) // _ID


def metrics_of(packed: bytes) -> dict[str, Statistics]:
    """The statistics of a packed bucket, without its ids."""
    _, first, metrics = _decoder.decode(packed)
    return _unpacked(first, metrics)


def _unpacked(first: int, metrics: dict[str, list[Any]]) -> dict[str, Statistics]:
    found = {}
    for name, (at, last, *more) in metrics.items():
        count, total, minimum, maximum = more or (1, last, last, last)
        found[name] = Statistics(count, total, minimum, maximum, last, first + at)
    return found


def bucket_start(at: int, resolution: int) -> int:
    """Start of the bucket of ``resolution`` seconds that holds ``at``; both microseconds since the epoch."""
    return at - at % span(resolution)


def merge_into(metrics: dict[str, Statistics], metric: str, statistics: Statistics) -> None:
    """Merge ``statistics``, which stays as it is, into the metric of that name."""
    known = metrics.get(metric)
    if known is None:
        metrics[metric] = msgspec.structs.replace(statistics)
    else:
        known.merge(statistics)


def merged(many: Iterable[dict[str, Statistics]]) -> dict[str, Statistics]:
    """Buckets' metrics merged into those of a longer window, or of several hosts."""
    result: dict[str, Statistics] = {}
    for metrics in many:
        for metric, statistics in metrics.items():
            merge_into(result, metric, statistics)
    return result


def rows_of(hostname: str, start: int, resolution: int, bucket: Bucket) -> list[AggregateRow]:
    """A bucket as rows of SQL."""
    return [
        AggregateRow(hostname, metric, resolution, start, statistics)
        for metric, statistics in bucket.metrics.items()
    ]
