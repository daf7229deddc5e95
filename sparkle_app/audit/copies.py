"""Compares the aggregates of two databases, also with their readings: whether one is a copy of the other."""

from collections.abc import Callable, Set
from itertools import zip_longest
from typing import NamedTuple

import msgspec

from sparkle_app.audit.auditor import Auditor
from sparkle_app.audit.chunks import ChunkResult
from sparkle_app.audit.differences import AggregateKey, statistics_equal
from sparkle_app.model.buckets import Statistics
from sparkle_app.model.time import EARLIEST, LATEST


class Audit(msgspec.Struct):
    """What was found in a database."""

    readings: int = 0
    aggregates: int = 0
    differences: int = 0
    not_verifiable: int = 0
    """Aggregates that are kept longer than what they were computed from."""

    def add(self, result: ChunkResult) -> None:
        """Add what was found on a chunk."""
        self.readings += result.readings
        self.aggregates += result.aggregates
        self.differences += len(result.differences)
        self.not_verifiable += len(result.not_verifiable)


class Comparison(NamedTuple):
    """What was found in the source and in the target."""

    here: Audit
    there: Audit
    same: bool
    """Whether the target has the same rows."""
    to_rebuild: int
    """Differences in the target that ``rebuild`` repairs, of the hosts of which it has more readings."""


class _Copied:
    """What the source can no longer compute, and whether the target has the same; the target may have more."""

    def __init__(self) -> None:
        # Only what has no counterpart yet: chunks of the target may end elsewhere.
        self._here: dict[AggregateKey, Statistics] = {}
        self._there: dict[AggregateKey, Statistics] = {}
        self._equal = True

    def add(self, one: ChunkResult | None, other: ChunkResult | None) -> None:
        self._here.update(one.not_verifiable if one else {})
        self._there.update(other.not_verifiable if other else {})
        for key in self._here.keys() & self._there.keys():
            self._equal &= statistics_equal(self._here.pop(key), self._there.pop(key))

    @property
    def complete(self) -> bool:
        return self._equal and not self._here


def audit_copy(
    source: Auditor, target: Auditor, ahead: Set[str], progress: Callable[[int], object]
) -> Comparison:
    """Compare all aggregates of the source's hosts with the readings, in both databases, chunk by chunk.

    Arguments:
        ahead: hosts of which the target has more readings: only those of their aggregates are compared with the
            source's that it can no longer compute.
        progress: called with the rows of each chunk of the source.
    """
    scope = source.scope(EARLIEST, LATEST)
    here, there, same, copied, to_rebuild = Audit(), Audit(), True, _Copied(), 0
    for hosts in (scope.hosts - ahead, scope.hosts & ahead):
        part = scope.only(hosts)
        for one, other in zip_longest(source.compare(part), target.compare(part)):
            if one:
                here.add(one)
                progress(one.rows)
            if other:
                there.add(other)
            if hosts & ahead:
                copied.add(one, other)
                to_rebuild += sum(not each.without_readings for each in (other.differences if other else ()))
            else:
                same = same and one is not None and other is not None and _same(one, other)
    return Comparison(here, there, same and copied.complete, to_rebuild)


def _same(one: ChunkResult, other: ChunkResult) -> bool:
    return (
        (one.chunk, one.readings, one.aggregates) == (other.chunk, other.readings, other.aggregates)
        and len(one.differences) == len(other.differences)
        and all(
            here.key == there.key and here.unchanged_since(there)
            for here, there in zip(one.differences, other.differences, strict=True)
        )
        and one.not_verifiable.keys() == other.not_verifiable.keys()
        and all(statistics_equal(each, other.not_verifiable[key]) for key, each in one.not_verifiable.items())
    )
