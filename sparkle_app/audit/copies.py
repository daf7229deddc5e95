"""Compares the aggregates of two databases, also with their readings: whether one is a copy of the other."""

from collections.abc import Callable
from itertools import zip_longest

import msgspec

from sparkle_app.audit.auditor import Auditor, PageResult
from sparkle_app.audit.differences import statistics_equal
from sparkle_app.model.time import EARLIEST, LATEST


class Audit(msgspec.Struct):
    """What was found in a database."""

    readings: int = 0
    aggregates: int = 0
    differences: int = 0
    not_verifiable: int = 0
    """Aggregates that are kept longer than what they were computed from."""

    def add(self, result: PageResult) -> None:
        """Add what was found on a page."""
        self.readings += result.readings
        self.aggregates += result.aggregates
        self.differences += len(result.differences)
        self.not_verifiable += len(result.not_verifiable)


def audit_copy(
    source: Auditor, target: Auditor, progress: Callable[[int], object]
) -> tuple[Audit, Audit, bool]:
    """Compare all aggregates of the source's hosts with the readings, in both databases, page by page.

    Arguments:
        progress: called with the rows of each page of the source.

    Returns:
        What was found in the source and in the target, and whether the target has the same rows.
    """
    scope = source.scope(EARLIEST, LATEST)
    both = source.compare(scope), target.compare(scope)
    here, there, same = Audit(), Audit(), True
    for one, other in zip_longest(*both):
        if one:
            here.add(one)
            progress(one.rows)
        if other:
            there.add(other)
        same = same and one is not None and other is not None and _same(one, other)
    return here, there, same


def _same(one: PageResult, other: PageResult) -> bool:
    return (
        (one.page, one.readings, one.aggregates) == (other.page, other.readings, other.aggregates)
        and len(one.differences) == len(other.differences)
        and all(
            here.key == there.key and here.unchanged_since(there)
            for here, there in zip(one.differences, other.differences, strict=True)
        )
        and one.not_verifiable.keys() == other.not_verifiable.keys()
        and all(statistics_equal(each, other.not_verifiable[key]) for key, each in one.not_verifiable.items())
    )
