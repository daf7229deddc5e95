"""Buckets and their statistics, without I/O.

A bucket covers one host and a fixed interval of event time: it holds the statistics of each metric, and the ids of the
readings that were counted. Because of the ids, counting is idempotent and independent of order: adding a reading twice,
or in another order, gives the same bucket.
"""

import math
import struct
from collections.abc import Hashable, Iterable
from typing import Any, TypeVar

import msgspec

from sparkle_app.model.sample import Sample
from sparkle_app.model.time import span

K = TypeVar("K", bound=Hashable)
MIN_BUCKET_SECONDS, MAX_BUCKET_SECONDS = 2, 3600
"""Of the setting ``aggregates.bucket_seconds``."""
LARGE = 1e290
"""A billion values below this have a sum in the range of a double."""
SCALE = 2.0**-64
"""A power of two: the scaling of large values is exact."""
MAX_SCALED = 1.79e308 * SCALE
"""A scaled sum above this stands for one beyond the range of a double."""


class Statistics(msgspec.Struct, array_like=True, gc=False):
    """The statistics of one metric."""

    count: int
    sum: float
    """Sum of the values; without those of at least :data:`LARGE`, while ``large_sum`` holds them."""
    minimum: float
    maximum: float
    last: float
    last_at: int
    """Event time of ``last``, microseconds since the epoch."""
    large_sum: float = 0.0
    """Sum of the values of at least :data:`LARGE`, times :data:`SCALE`; 0 in the rows of SQL."""

    @classmethod
    def of(cls, value: float, at: int) -> "Statistics":
        """The statistics of a single reading."""
        if -LARGE < value < LARGE:
            return cls(1, value, value, value, value, at)
        return cls(1, 0.0, value, value, value, at, value * SCALE)

    @property
    def average(self) -> float:
        """The average; not finite if a row of SQL has an infinite sum of different values, or is damaged."""
        if not self.count:
            return math.nan
        average = self.sum / self.count + self.large_sum / self.count / SCALE
        return self.minimum if self.minimum == self.maximum and not math.isfinite(average) else average

    def as_row(self) -> "Statistics":
        """The statistics as a row of SQL has them, with one sum: infinite if it exceeds the range of a double."""
        if not self.large_sum:
            return self
        is_infinite = abs(self.large_sum) > MAX_SCALED
        total = math.copysign(math.inf, self.large_sum) if is_infinite else self.sum + self.large_sum / SCALE
        return msgspec.structs.replace(self, sum=total, large_sum=0.0)

    def add(self, value: float, at: int) -> None:
        """Add a single reading, as :meth:`merge` does with that of :meth:`of`, in less time."""
        self.count += 1
        if -LARGE < value < LARGE:
            self.sum += value
        else:
            self.large_sum += value * SCALE
        if value < self.minimum:
            self.minimum = value
        if value > self.maximum:
            self.maximum = value
        if at > self.last_at or (at == self.last_at and value > self.last):
            self.last_at, self.last = at, value

    def merge(self, other: "Statistics") -> None:
        """Add the statistics of other readings; no reading may be in both."""
        self.count += other.count
        self.sum += other.sum
        self.large_sum += other.large_sum
        if other.minimum < self.minimum:
            self.minimum = other.minimum
        if other.maximum > self.maximum:
            self.maximum = other.maximum
        # Of two readings with the same event time the larger is the last, so that the order of arrival does not matter.
        if other.last_at > self.last_at or (other.last_at == self.last_at and other.last > self.last):
            self.last_at, self.last = other.last_at, other.last


class Bucket(msgspec.Struct, array_like=True):
    """What was counted for one host in one interval."""

    ids: set[bytes] = msgspec.field(default_factory=set)
    metrics: dict[str, Statistics] = msgspec.field(default_factory=dict)

    def add(self, sample: Sample) -> bool:
        """Count a sample unless it was counted before; return whether it was counted now."""
        if sample.id in self.ids:
            return False
        self.ids.add(sample.id)
        known = self.metrics.get(sample.metric)
        if known:
            known.add(sample.value, sample.observed_at)
        else:
            self.metrics[sample.metric] = Statistics.of(sample.value, sample.observed_at)
        return True

    def pack(self) -> bytes:
        """The bucket as compact MessagePack, since a table holds very many.

        The ids are concatenated, times are relative to the earliest one, and a metric with a single reading is stored
        as that reading: most hosts send one in the time of a bucket.
        """
        first = min((statistics.last_at for statistics in self.metrics.values()), default=0)
        metrics = {
            name: (each.last_at - first, each.last)
            if each.count == 1
            else (each.last_at - first, each.last, each.count, each.sum, each.minimum, each.maximum)
            + ((each.large_sum,) if each.large_sum else ())
            for name, each in self.metrics.items()
        }
        return _encoder.encode((b"".join(self.ids), first, metrics))

    @classmethod
    def unpack(cls, packed: bytes) -> "Bucket":
        """The inverse of :meth:`pack`."""
        ids, first, metrics = _decoder.decode(packed)
        return cls({each for (each,) in _ids.iter_unpack(ids)}, _unpacked(first, metrics))


class AggregateRow(msgspec.Struct, frozen=True, gc=False):
    """One metric of one bucket, as its row in SQL has it."""

    hostname: str
    metric: str
    resolution: int
    """Bucket size, seconds."""
    bucket_start: int
    """Event time, microseconds since the epoch."""
    statistics: Statistics


_ID = 8
_ids = struct.Struct(f"{_ID}s")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[bytes, int, dict[str, list[Any]]])
_decoder_of_ids = msgspec.msgpack.Decoder(tuple[bytes, msgspec.Raw, msgspec.Raw])


def count_of(packed: bytes) -> int:
    """The number of readings that a packed bucket has counted."""
    return len(_decoder_of_ids.decode(packed)[0]) // _ID


def merge_packed(metrics: dict[str, Statistics], packed: bytes) -> None:
    """Merge the statistics of a packed bucket into those of a longer window."""
    _, first, found = _decoder.decode(packed)
    for name, values in found.items():
        known = metrics.get(name)
        if known is None:
            metrics[name] = _unpacked_one(first, values)
        elif len(values) == 2:
            known.add(values[1], first + values[0])
        else:
            known.merge(_unpacked_one(first, values))


def _unpacked(first: int, metrics: dict[str, list[Any]]) -> dict[str, Statistics]:
    return {name: _unpacked_one(first, values) for name, values in metrics.items()}


def _unpacked_one(first: int, values: list[Any]) -> Statistics:
    if len(values) == 2:
        at, last = values
        return Statistics.of(last, first + at)
    at, last, count, total, minimum, maximum, *large_sum = values
    return Statistics(count, total, minimum, maximum, last, first + at, *large_sum)


def bucket_start(at: int, bucket_size: int) -> int:
    """Start of the bucket of ``bucket_size`` seconds that contains ``at``; both microseconds since the epoch."""
    return at - at % span(bucket_size)


def merge_into(found: dict[K, Statistics], key: K, statistics: Statistics) -> None:
    """Merge ``statistics``, which is not modified, into those of ``key``."""
    known = found.get(key)
    if known is None:
        found[key] = msgspec.structs.replace(statistics)
    else:
        known.merge(statistics)


def merged(many: Iterable[dict[str, Statistics]]) -> dict[str, Statistics]:
    """Merge the metrics of buckets into those of a longer window, or of several hosts."""
    result: dict[str, Statistics] = {}
    for metrics in many:
        for metric, statistics in metrics.items():
            merge_into(result, metric, statistics)
    return result


def rows_of(hostname: str, start: int, bucket_size: int, bucket: Bucket) -> list[AggregateRow]:
    """The rows of a bucket in SQL."""
    return [
        AggregateRow(hostname, metric, bucket_size, start, statistics.as_row())
        for metric, statistics in bucket.metrics.items()
    ]
