"""The response bodies; the OpenAPI document is generated from these types. Times are RFC 3339 in UTC."""

import math
from typing import Annotated, Any
from uuid import UUID

import msgspec

from sparkle_app.model.buckets import Statistics
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.time import rfc3339

Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
_MIXED = msgspec.Meta(
    description="Over all metrics of the host together: use `headline`, or the parameter `metric`.",
    extra_json_schema={"deprecated": True},
)


class MetricStatistics(msgspec.Struct, gc=False):
    """Statistics of one metric over a time range."""

    count: int
    average: float | None
    """null if the sum of different values exceeds the range of a double in a row of SQL."""
    minimum: float
    maximum: float
    last: float
    last_at: Time


class PluginInfo(msgspec.Struct):
    """An installed plugin."""

    name: str
    version: str
    author: str
    topic: str
    unit: str
    description: str
    headline: str | None
    """The metric that stands for a host; null: the one with the highest average."""


class PluginsResponse(msgspec.Struct):
    """All installed plugins."""

    plugins: list[PluginInfo]


class Window(msgspec.Struct, kw_only=True, rename={"start": "from", "end": "to"}):
    """The time range of a window, in whole buckets."""

    plugin: str
    unit: str
    window_seconds: int
    start: Time
    end: Time


class HostActivity(msgspec.Struct):
    """When a host sent readings of a plugin. Written once a minute."""

    plugin: str
    config_id: int
    """Of the reading that was received last."""
    first_received_at: Time
    last_received_at: Time
    first_observed_at: Time
    last_observed_at: Time
    interval_seconds: int | None
    """Usual time between its readings, at least 60; null: it has sent readings only once."""
    silent: bool
    """Whether nothing was received for more than three of these intervals (15 minutes if there is none)."""


class KnownHost(msgspec.Struct):
    """A host, and when it sent readings of each plugin."""

    host: str
    plugins: list[HostActivity]


class KnownHostsResponse(msgspec.Struct):
    """A page of hosts, by name."""

    hosts: list[KnownHost]
    next: str | None


class FleetResponse(Window, kw_only=True):
    """Window statistics of all hosts together, by metric."""

    hosts: int
    metrics: dict[str, MetricStatistics]


class HostResponse(Window, kw_only=True):
    """Window statistics of one host, by metric."""

    host: str
    metrics: dict[str, MetricStatistics]


class Headline(MetricStatistics, kw_only=True, gc=False):
    """Statistics of the metric that stands for a host: the plugin's headline, or the one with the highest average."""

    metric: str


class HostStatistics(MetricStatistics, kw_only=True):
    """Statistics of one host over all its metrics, or over the requested one."""

    host: str
    average: Annotated[float | None, _MIXED]
    last: Annotated[float, _MIXED]
    headline: Headline


class HostsResponse(Window, kw_only=True):
    """Window statistics by host, in the order of hostnames."""

    hosts: list[HostStatistics]
    next: str | None
    """The value of `after` for the next page; null on the last page."""


class TimeRange(msgspec.Struct, kw_only=True, rename={"start": "from", "end": "to"}):
    """The time range of a query of one host's history."""

    plugin: str
    host: str
    unit: str
    start: Time
    end: Time


class Point(MetricStatistics, kw_only=True, gc=False):
    """Statistics of the step that starts at `at`."""

    at: Time


class SeriesResponse(TimeRange, kw_only=True):
    """Aggregates of one host in steps of equal length, by metric."""

    step_seconds: int
    series: dict[str, list[Point]]


class ReadingInfo(msgspec.Struct):
    """One stored reading."""

    metric: str
    value: Any
    """The value as stored: a number, or another JSON value if the plugin stores other values."""
    numeric_value: float | None
    """The number that is aggregated; null if the plugin does not aggregate this reading."""
    observed_at: Time
    received_at: Time
    clock_trusted: bool
    id: str


class ReadingsResponse(TimeRange, kw_only=True):
    """Stored readings of one host, in the order of event time."""

    readings: list[ReadingInfo]
    next: str | None
    """The value of `after` for the next page; null on the last page."""


def reading(stored: StoredReading, numeric_value: float | None) -> ReadingInfo:
    """A stored reading, and the number that is aggregated."""
    return ReadingInfo(
        stored.key,
        stored.value,
        numeric_value,
        rfc3339(stored.observed_at),
        rfc3339(stored.received_at),
        stored.clock_trusted,
        str(UUID(bytes=stored.id)),
    )


def metric(statistics: Statistics) -> MetricStatistics:
    """The statistics of a metric."""
    return MetricStatistics(**_numbers(statistics))


def host(name: str, total: Statistics, metric: str, statistics: Statistics) -> HostStatistics:
    """The statistics of a host.

    Arguments:
        total: over the requested metrics together.
        metric: the metric that stands for the host.
        statistics: of this metric.
    """
    return HostStatistics(
        host=name, headline=Headline(metric=metric, **_numbers(statistics)), **_numbers(total)
    )


def point(at: int, statistics: Statistics) -> Point:
    """The statistics of the step that starts at ``at`` (microseconds since the epoch)."""
    return Point(at=rfc3339(at), **_numbers(statistics))


def _numbers(statistics: Statistics) -> dict[str, Any]:
    return {
        "count": statistics.count,
        "average": statistics.average if math.isfinite(statistics.average) else None,
        "minimum": statistics.minimum,
        "maximum": statistics.maximum,
        "last": statistics.last,
        "last_at": rfc3339(statistics.last_at),
    }
