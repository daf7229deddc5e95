"""Aggregates of two hosts, and the series that the API makes of them."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.time import micros, rfc3339
from sparkle_app.web.api import series_responses

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
START, MINUTE, HOUR, DAY = micros(BEGIN), 60_000_000, 3_600_000_000, 86_400_000_000
HOSTS = ("web-1", "web-2")


def aggregates() -> list[AggregateRow]:
    """Three days; quarters, whose sums are exact in any order."""
    chance = random.Random(1)
    rows = []
    for hostname in HOSTS:
        for metric in ("core/0", "core/1", "ядро"):
            for at in sorted(chance.sample(range(3 * 1440), 400)):
                low, high, last = sorted(chance.randrange(-400, 400) / 4 for _ in range(3))
                count, start = chance.randrange(1, 9), START + at * MINUTE
                last_at = start + chance.randrange(MINUTE)
                statistics = Statistics(count, low + high, low, high, last, last_at)
                rows.append(AggregateRow(hostname, metric, 60, start, statistics))
    # Of another bucket size.
    rows.append(AggregateRow("web-1", "core/0", 300, START, Statistics(100, 1.0, 1.0, 1.0, 1.0, START)))
    return rows


def expected(rows: list[AggregateRow], step: int, end: int) -> dict[str, list[dict[str, Any]]]:
    """The series of web-1 up to a time, merged row by row."""
    merged: dict[str, dict[int, list[AggregateRow]]] = {}
    for row in rows:
        if row.hostname == "web-1" and row.resolution == 60 and row.bucket_start < end:
            at = row.bucket_start - row.bucket_start % (step * 1_000_000)
            merged.setdefault(row.metric, {}).setdefault(at, []).append(row)
    return {
        metric: [
            {
                "at": rfc3339(at),
                "count": sum(each.statistics.count for each in found),
                "average": sum(each.statistics.sum for each in found)
                / sum(each.statistics.count for each in found),
                "minimum": min(each.statistics.minimum for each in found),
                "maximum": max(each.statistics.maximum for each in found),
                "last": max(found, key=lambda each: each.bucket_start).statistics.last,
                "last_at": rfc3339(max(each.statistics.last_at for each in found)),
            }
            for at, found in sorted(steps.items())
        ]
        for metric, steps in merged.items()
    }


def by_metric(rows: Iterable[AggregateRow]) -> dict[str, list[dict[str, Any]]]:
    """The points of a series, as the HTTP API returns them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row.bucket_start):
        point = msgspec.to_builtins(series_responses.point(row.bucket_start, row.statistics))
        found.setdefault(row.metric, []).append(point)
    return found
