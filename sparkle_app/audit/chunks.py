"""What is compared: a scope, in chunks that take one transaction each."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import msgspec

from sparkle_app.audit.differences import AggregateKey, Difference
from sparkle_app.model.buckets import Statistics, bucket_start
from sparkle_app.model.time import span
from sparkle_app.storage.extents import Extent


class Scope(msgspec.Struct, frozen=True):
    """What is to be compared: whole buckets of a time range, and the hours and days that are whole in it."""

    start: int
    end: int
    unit: int
    """Chunks end at multiples of this, seconds: the largest bucket that is compared."""
    readings_since: int
    """Readings are kept since this time, which is not before ``start``."""
    readings: Mapping[str, int]
    """Hosts with stored readings since then, and their number of readings."""
    earlier: Mapping[str, Extent]
    """Hosts with aggregates before that time."""
    sparse: Mapping[str, Extent]
    """Hosts with more aggregates than readings since that time; they are not in ``readings``."""

    @property
    def rows(self) -> int:
        """The number of readings, and of aggregates without readings."""
        extents = (*self.earlier.values(), *self.sparse.values())
        return sum(self.readings.values()) + sum(each.rows for each in extents)

    @property
    def hosts(self) -> Set[str]:
        """All hosts."""
        return self.readings.keys() | self.earlier.keys() | self.sparse.keys()

    def only(self, hosts: Set[str]) -> "Scope":
        """The same, of these hosts only."""
        readings = {host: number for host, number in self.readings.items() if host in hosts}
        earlier = {host: extent for host, extent in self.earlier.items() if host in hosts}
        sparse = {host: extent for host, extent in self.sparse.items() if host in hosts}
        return msgspec.structs.replace(self, readings=readings, earlier=earlier, sparse=sparse)


@dataclass(frozen=True)
class Chunk:
    """Hosts and a time range that are compared in one transaction."""

    hostnames: Sequence[str]
    start: int
    end: int
    by_aggregates: bool = False
    """Whether it has few readings, or none, and its size is that of its aggregates."""

    def whole(self, resolution: int) -> tuple[int, int]:
        """Start and end of the buckets of a size that are in the range as a whole."""
        return ceiling(self.start, resolution), bucket_start(self.end, resolution)


@dataclass(frozen=True)
class ChunkResult:
    """The result of comparing one chunk."""

    chunk: Chunk
    readings: int
    aggregates: int
    """Of all resolutions, without those that are not verifiable."""
    not_verifiable: Mapping[AggregateKey, Statistics]
    """Other aggregates: what they were computed from is not kept."""
    differences: Sequence[Difference]

    @property
    def rows(self) -> int:
        """How much of :attr:`Scope.rows` this is."""
        aggregates = self.aggregates + len(self.not_verifiable)
        return aggregates if self.chunk.by_aggregates else self.readings


def ceiling(at: int, resolution: int) -> int:
    """Start of the first bucket of ``resolution`` seconds that does not begin before ``at``."""
    return bucket_start(at + span(resolution) - 1, resolution)
