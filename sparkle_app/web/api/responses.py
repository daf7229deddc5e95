"""What several responses contain; the OpenAPI document is generated from their types. Times are RFC 3339 in UTC."""

import math
from typing import Annotated, Any

import msgspec

from sparkle_app.model.buckets import Statistics
from sparkle_app.model.time import rfc3339

Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
MadeAt = Annotated[
    str,
    msgspec.Meta(
        description="Time at which the worker began to compute the response.",
        extra_json_schema={"format": "date-time"},
    ),
]


class MetricStatistics(msgspec.Struct, gc=False):
    """Statistics of one metric over a time range."""

    count: int
    average: float | None
    """null if the sum of different values exceeds the range of a double in a row of SQL."""
    minimum: float
    maximum: float
    last: float
    last_at: Time


class HeadlineStatistics(MetricStatistics, kw_only=True, gc=False):
    """Statistics of the metric that stands for a host: the plugin's headline, or the one with the highest average."""

    metric: str


class Window(msgspec.Struct, kw_only=True, rename={"start": "from", "end": "to"}):
    """The time range of a window, in whole buckets."""

    plugin: str
    unit: str
    window_seconds: int
    start: Time
    end: Time


def metric(statistics: Statistics) -> MetricStatistics:
    """The statistics of a metric."""
    return MetricStatistics(**numbers(statistics))


def headline(metric: str, statistics: Statistics) -> HeadlineStatistics:
    """The statistics of the metric that stands for a host."""
    return HeadlineStatistics(metric=metric, **numbers(statistics))


def numbers(statistics: Statistics) -> dict[str, Any]:
    """The fields of :class:`MetricStatistics`."""
    return {
        "count": statistics.count,
        "average": statistics.average if math.isfinite(statistics.average) else None,
        "minimum": statistics.minimum,
        "maximum": statistics.maximum,
        "last": statistics.last,
        "last_at": rfc3339(statistics.last_at),
    }
