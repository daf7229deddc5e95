"""Expected aggregates, computed from readings independently of the handler."""

from collections.abc import Iterable
from typing import Any

from sparkle_app.model.reading import StoredReading

Statistics = tuple[int, float, float, float, float, int]
"""Count, sum, minimum, maximum, last value and its event time."""


def recomputed(stored: Iterable[StoredReading], bucket: int) -> dict[tuple[str, int], dict[str, Statistics]]:
    """The statistics of each metric, by hostname and start of the bucket; ``bucket``: bucket size in microseconds."""
    buckets: dict[tuple[str, int], dict[str, list[StoredReading]]] = {}
    for each in stored:
        start = each.observed_at // bucket * bucket
        buckets.setdefault((each.hostname, start), {}).setdefault(each.key, []).append(each)
    return {key: {name: _statistics(of) for name, of in metrics.items()} for key, metrics in buckets.items()}


def _statistics(of_metric: list[StoredReading]) -> Statistics:
    values = [each.value for each in of_metric]
    last_at, last = max((each.observed_at, each.value) for each in of_metric)
    return len(values), sum(values), min(values), max(values), last, last_at


def as_tuple(each: Any) -> Statistics:
    """The handler's statistics in the same format."""
    return each.count, each.sum, each.minimum, each.maximum, each.last, each.last_at
