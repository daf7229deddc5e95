"""The responses of queries of a host's aggregates over time."""

import msgspec

from sparkle_app.model.buckets import Statistics
from sparkle_app.model.time import rfc3339
from sparkle_app.plugin.history import Columns, LateSteps
from sparkle_app.web.api.history import TimeRange
from sparkle_app.web.api.responses import MetricStatistics, Time, numbers


class Point(MetricStatistics, kw_only=True, gc=False):
    """Statistics of the step that starts at `at`."""

    at: Time


class SeriesResponse(TimeRange, kw_only=True):
    """Aggregates of one host in steps of equal length, by metric."""

    step_seconds: int
    series: dict[str, list[Point]]


class Source(msgspec.Struct, kw_only=True, rename={"start": "from", "end": "to"}):
    """Stored aggregates that were merged into steps."""

    resolution_seconds: int
    start: Time
    end: Time


class ColumnsResponse(TimeRange, kw_only=True):
    """Aggregates of one host in steps of equal length, by metric, in columns."""

    step_seconds: int
    sources: list[Source]
    series: dict[str, Columns]
    late: dict[str, LateSteps] | None
    """By metric; null: not known. Readings that have expired are not among them."""


def point(at: int, statistics: Statistics) -> Point:
    """The statistics of the step that starts at ``at`` (microseconds since the epoch)."""
    return Point(at=rfc3339(at), **numbers(statistics))
