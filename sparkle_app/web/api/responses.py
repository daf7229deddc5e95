"""The response bodies; the OpenAPI document is generated from these types. Times are RFC 3339 in UTC."""

import math
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from sparkle_app.model.buckets import Statistics
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.time import rfc3339, span
from sparkle_app.plugin.history import Columns
from sparkle_app.plugin.panel import Panel, State
from sparkle_app.web.snapshots.overview import Row, Value

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


class SessionResponse(msgspec.Struct):
    """What the request may do."""

    role: Literal["read", "operator"]
    """``operator``: read and write. Also of a request from this machine, if no token is configured."""
    session: bool
    """Whether a person has logged in with a browser; POST /logout ends the session."""
    expires_at: Time | None
    """When the session ends."""


class PluginInfo(msgspec.Struct):
    """An installed plugin."""

    name: str
    version: str
    author: str
    topic: str
    unit: str
    description: str
    headline: str | None
    """The metric that stands for a host; null: the one with the highest or lowest average, as `panel` says."""
    panel: Panel


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
    clock_offset_seconds: int | None
    """The local time that its last reading states, minus the time at which this was received, if the clock is not
    trusted: the UTC offset is a part of it, and so is a delay of the record; null: the clock is trusted."""


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
    state: State
    """According to the plugin's thresholds: ok, warning or critical."""


class HostsResponse(Window, kw_only=True):
    """Window statistics by host, of the hosts that have readings in the window."""

    hosts: list[HostStatistics]
    total: int
    """Number of hosts on all pages, after `after` if it is given."""
    next: str | None
    """The value of `after` for the next page; null on the last page, and if `sort` is given."""


class OutdatedPart(msgspec.Struct):
    """Hosts of which the worker that answers does not know the present state, because another one does not answer."""

    plugin: str
    worker: str | None
    """URL of the worker that has them; null: no worker at this moment."""
    partitions: list[int]
    """The partitions of these hosts. A host is in the partition CRC-32(hostname) modulo `broker.partitions`."""
    as_of: Time | None
    """Of when what is shown of them is; null: only what SQL knows is shown."""
    problem: str


class OverviewWindow(msgspec.Struct, kw_only=True, rename={"start": "from", "end": "to"}):
    """What all lists of hosts have in common. They are at most some seconds old, except for what `outdated` says."""

    window_seconds: int
    start: Time
    end: Time
    states: dict[State, int]
    """Number of hosts in each state, without `state` and `search`."""
    outdated: list[OutdatedPart]
    """Empty if all workers answer."""
    problem: str | None
    """Why it is not known at this moment which hosts are silent: the database does not answer."""


class PluginOfHost(msgspec.Struct):
    """What a plugin of a host last measured."""

    state: State
    """silent, or according to the plugin's thresholds: ok, warning or critical."""
    last_seen: Time
    """When it last sent a reading."""
    interval_seconds: int | None
    """Usual time between its readings; null: not known yet."""
    config_id: int | None
    """Of the reading that was received last; null: not known yet."""
    headline: Headline | None
    """Statistics of the metric that stands for the host; null: there are no numbers in the window."""


class OverviewHost(msgspec.Struct):
    """A host."""

    host: str
    state: State
    """The worst of its plugins: silent, critical, warning or ok."""
    last_seen: Time
    plugins: dict[str, PluginOfHost]


class OverviewHostResponse(OverviewHost, kw_only=True):
    """A host, at most some seconds old, except for what `outdated` says."""

    outdated: list[OutdatedPart]
    """Those with this host; empty if the worker that has it answers."""
    problem: str | None
    """Why it is not known at this moment whether the host is silent: the database does not answer."""


class OverviewResponse(OverviewWindow, kw_only=True):
    """A page of all hosts, silent ones included."""

    total: int
    """Number of hosts on all pages."""
    hosts: list[OverviewHost]


class CellsResponse(OverviewWindow, kw_only=True):
    """All hosts of a plugin in columns, in the order of hostnames."""

    unit: str
    host: list[str]
    state: list[State]
    last: list[float | None]
    """The last value of the metric that stands for the host; null: there are no numbers in the window."""


class HeadlinesResponse(msgspec.Struct, kw_only=True, rename={"start": "from", "end": "to"}):
    """The metric that stands for a host, of a page of hosts over time."""

    plugin: str
    unit: str
    start: Time
    end: Time
    step_seconds: int
    total: int
    """Number of hosts on all pages."""
    host: list[str]
    average: list[list[float | None]]
    """Of each host, of each step from `from`: the average of the headline, or the highest (or lowest) average of a
    metric, as the plugin's panel says; null: no readings."""


class TimeRange(msgspec.Struct, kw_only=True, rename={"start": "from", "end": "to"}):
    """The time range of a query of one host's history."""

    plugin: str
    host: str
    unit: str
    start: Time
    end: Time


class KeptRange(TimeRange, kw_only=True):
    """A time range of rows that retention may have deleted in part."""

    kept_since: Time | None
    """Rows that begin before this time have expired; null: the range does not begin before what is kept."""


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


class DifferenceInfo(msgspec.Struct, kw_only=True):
    """An aggregate that is not what its readings give."""

    metric: str
    resolution: int
    """Bucket size, seconds."""
    at: Time
    """Start of the bucket."""
    stored: MetricStatistics | None
    """null: there is no aggregate."""
    recounted: MetricStatistics | None
    """null: there are no readings."""
    lagging: bool
    """Whether the aggregate counts fewer readings: a worker may be about to count the rest."""


class RecountResponse(KeptRange, kw_only=True):
    """The aggregates of one host, compared with its stored readings, in whole buckets."""

    readings: int
    """Stored readings that were recounted."""
    aggregates: int
    """Aggregates that were compared: one for each metric and bucket, and for each hour and day that is whole in it."""
    not_verifiable: int
    """Other aggregates: what they were computed from is not kept any more."""
    equal: bool
    """Whether every aggregate is exactly what its readings give."""
    differing: int
    differences: list[DifferenceInfo]
    """The first hundred."""


class GapInfo(msgspec.Struct, kw_only=True, rename={"start": "from", "end": "to"}):
    """A time without readings that lasted longer than the usual interval."""

    start: Time
    end: Time
    missing: int
    """How many times the host should have sent readings."""


class CompletenessResponse(KeptRange, kw_only=True):
    """How often one host sent readings, from its first reading and until now at most."""

    interval_seconds: int | None
    """Usual time between its readings; null: not known yet, and so is what depends on it."""
    expected: int | None
    """How often it should have sent readings; null: not known, also of a plugin whose values are not numbers."""
    missing: int | None
    """How often it did not."""
    completeness: float | None
    """From 0 to 1."""
    gaps: list[GapInfo]


class DeadLetterInfo(msgspec.Struct, kw_only=True):
    """A record, or one of its readings, that could not be stored."""

    key: str
    """Identifies it, also for the commands `dead-letters` and `replay`."""
    reason: str
    detail: str | None
    """null: an earlier version produced it, or the internal key is another one; so are plugin and metric."""
    plugin: str | None
    metric: str | None
    host: str
    """As the record says, at most 60 characters; - if it does not."""
    config: str
    """The config id, likewise."""
    topic: str
    """Of the record, with `partition` and `offset`."""
    partition: int
    offset: int
    index: int | None
    """Which reading of the record; null: the whole record."""
    received_at: Time
    """Timestamp of the record."""
    size: int
    """Bytes of the record's value."""


class DeadLettersResponse(msgspec.Struct, kw_only=True):
    """Counts of the chosen dead letters, and a page of them, those of the newest records first."""

    total: int
    left_out: int
    """How many old ones are neither counted nor listed, because there are too many."""
    by_reason: dict[str, int]
    by_host: dict[str, int]
    """The hosts with the most."""
    by_config: dict[str, int]
    by_hour: dict[str, int]
    """Of the last two days, by the hour in which the record was received."""
    dead_letters: list[DeadLetterInfo]


class DeadLetterResponse(msgspec.Struct, kw_only=True):
    """One dead letter."""

    dead_letter: DeadLetterInfo
    value: str
    """The value of the record as it was received, at most 20,000 characters. Its payload is encrypted."""
    would_be_stored: bool | None
    """Whether `replay` would store it now, as far as it is known before it is written to the database; null: the dead
    letter does not contain the value."""
    obstacle: str | None
    """Why it would not be stored."""


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
    """false: the host's clock was wrong, and `observed_at` is `received_at`."""
    id: str
    """First 16 bytes of the SHA-256 hash of the encrypted payload."""
    config_id: int
    topic: str
    """Where the record was received, with `partition` and `offset`."""
    partition: int
    offset: int


class ReadingsResponse(KeptRange, kw_only=True):
    """Stored readings of one host, in the order of event time."""

    readings: list[ReadingInfo]
    next: str | None
    """The value of `after` for the next page; null on the last page."""


def kept_since(at: int, start: int) -> Time | None:
    """The field of :class:`KeptRange`.

    Arguments:
        at: rows are kept since this time, microseconds since the epoch.
        start: of the range.
    """
    return rfc3339(at) if start < at else None


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
        stored.config_id,
        stored.topic,
        stored.partition,
        stored.offset,
    )


def metric(statistics: Statistics) -> MetricStatistics:
    """The statistics of a metric."""
    return MetricStatistics(**_numbers(statistics))


def host(name: str, total: Statistics, metric: str, statistics: Statistics, state: State) -> HostStatistics:
    """The statistics of a host.

    Arguments:
        total: over the requested metrics together.
        metric: the metric that stands for the host.
        statistics: of this metric.
    """
    return HostStatistics(
        host=name,
        headline=Headline(metric=metric, **_numbers(statistics)),
        state=state,
        **_numbers(total),
    )


def overview_host(name: str, row: Row, plugin: str | None) -> OverviewHost:
    """A host of an overview.

    Arguments:
        plugin: only this plugin; None: all of the host.
    """
    values = row.values if plugin is None else {plugin: row.values[plugin]}
    return OverviewHost(
        name,
        row.state,
        rfc3339(row.seen_at),
        {each: _plugin_of_host(value) for each, value in values.items()},
    )


def _plugin_of_host(value: Value) -> PluginOfHost:
    activity, line = value.activity, value.line
    interval = activity.interval if activity else None
    return PluginOfHost(
        value.state,
        rfc3339(value.seen_at),
        None if interval is None else interval // span(1),
        activity.config_id if activity else None,
        Headline(metric=line.metric, **_numbers(line.headline)) if line else None,
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
