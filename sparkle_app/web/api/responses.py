"""The shapes of the answers; the OpenAPI document is made from them. Times are RFC 3339 in UTC."""

from typing import Annotated, Any
from uuid import UUID

import msgspec

from sparkle_app.model.buckets import Statistics
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.time import rfc3339

Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class Metric(msgspec.Struct):
    """Statistics of one metric over a time."""

    count: int
    average: float
    minimum: float
    maximum: float
    last: float
    last_at: Time


class PluginLine(msgspec.Struct):
    """An installed plugin."""

    name: str
    version: str
    author: str
    topic: str
    unit: str
    description: str


class PluginsResponse(msgspec.Struct):
    """All installed plugins."""

    plugins: list[PluginLine]


class Window(msgspec.Struct, kw_only=True, rename={"start": "from", "end": "to"}):
    """The whole buckets that a window touches."""

    plugin: str
    unit: str
    window_seconds: int
    start: Time
    end: Time


class FleetResponse(Window, kw_only=True):
    """All hosts together."""

    hosts: int
    metrics: dict[str, Metric]


class HostResponse(Window, kw_only=True):
    """One host."""

    host: str
    metrics: dict[str, Metric]


class HostLine(Metric, kw_only=True):
    """One host's metrics together, or the one that was asked for."""

    host: str


class HostsResponse(Window, kw_only=True):
    """A line for each host, in the order of their names."""

    hosts: list[HostLine]
    next: str | None
    """Give it as `after` to see more."""


class Span(msgspec.Struct, kw_only=True, rename={"start": "from", "end": "to"}):
    """One host's past, out of SQL."""

    plugin: str
    host: str
    unit: str
    start: Time
    end: Time


class Point(Metric, kw_only=True):
    """Statistics of the step that begins at `at`."""

    at: Time


class SeriesResponse(Span, kw_only=True):
    """Durable aggregates."""

    step_seconds: int
    series: dict[str, list[Point]]


class RawReading(msgspec.Struct):
    """One stored reading."""

    metric: str
    value: float | None
    """None where the plugin aggregates no number."""
    observed_at: Time
    received_at: Time
    clock_trusted: bool
    id: str


class ReadingsResponse(Span, kw_only=True):
    """Raw readings, in the order of event time."""

    readings: list[RawReading]
    next: str | None
    """Give it as `after` to see more."""


def raw_reading(reading: StoredReading, value: float | None) -> RawReading:
    """A stored reading; ``value`` is what is aggregated of it."""
    return RawReading(
        reading.key,
        value,
        rfc3339(reading.observed_at),
        rfc3339(reading.received_at),
        reading.clock_trusted,
        str(UUID(bytes=reading.id)),
    )


def metric(statistics: Statistics) -> Metric:
    """Statistics as they are answered."""
    return Metric(**_numbers(statistics))


def host_line(host: str, statistics: Statistics) -> HostLine:
    """The line of a host."""
    return HostLine(host=host, **_numbers(statistics))


def point(at: int, statistics: Statistics) -> Point:
    """The point of a step."""
    return Point(at=rfc3339(at), **_numbers(statistics))


def _numbers(statistics: Statistics) -> dict[str, Any]:
    return {
        "count": statistics.count,
        "average": statistics.sum / statistics.count,
        "minimum": statistics.minimum,
        "maximum": statistics.maximum,
        "last": statistics.last,
        "last_at": rfc3339(statistics.last_at),
    }
