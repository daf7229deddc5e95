"""Responses of the overview, and what they show of a host."""

import msgspec

from sparkle_app.model.time import rfc3339, span
from sparkle_app.plugin.panel import State
from sparkle_app.web.api.responses import HeadlineStatistics, MadeAt, Time, headline
from sparkle_app.web.snapshots.fleet import OutdatedPartitions
from sparkle_app.web.snapshots.overview import Row, Value


class PluginOfHost(msgspec.Struct):
    """What a plugin of a host last measured."""

    state: State
    """silent, or according to the thresholds: ok, warning, critical; unknown if the last value is not known, or if the
    partition of the host is not up to date, and it may have sent readings since."""
    last_seen: Time
    """When it last sent a reading."""
    interval_seconds: int | None
    """Usual time between its readings; null: not known yet."""
    config_id: int | None
    """Of the reading that was received last; null: not known yet."""
    headline: HeadlineStatistics | None
    """Statistics of the metric that stands for the host; null: there are no numbers in the window."""


class OverviewHost(msgspec.Struct):
    """A host."""

    host: str
    state: State
    """The worst of its plugins, or that of the requested plugin: silent, critical, warning, unknown or ok."""
    last_seen: Time
    """When it last sent a reading; if it is silent, a reading of a plugin that is."""
    plugins: dict[str, PluginOfHost]


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

    made_at: MadeAt
    window_seconds: int
    start: Time
    end: Time
    states: dict[State, int]
    """Number of hosts in each state, without `state` and `search`."""
    outdated: list[OutdatedPart]
    """Empty if all workers answer."""
    problem: str | None
    """Why it is not known at this moment which hosts are silent: the database does not answer."""


class OverviewHostResponse(OverviewHost, kw_only=True):
    """A host, at most some seconds old, except for what `outdated` says."""

    made_at: MadeAt
    outdated: list[OutdatedPart]
    """Those with this host; empty if the worker that has it answers."""
    problem: str | None
    """Why it is not known at this moment whether the host is silent: the database does not answer."""


class OverviewResponse(OverviewWindow, kw_only=True):
    """A page of all hosts, silent ones included."""

    total: int
    """Number of hosts on all pages."""
    hosts: list[OverviewHost]
    silent_hosts: list[OverviewHost]
    """The hosts that fell silent last, as many as `silent` says, without `state` and `search`."""


class CellsResponse(OverviewWindow, kw_only=True):
    """All hosts of a plugin in columns, in the order of hostnames."""

    unit: str
    host: list[str]
    state: list[State]
    """Of the plugin."""
    host_state: list[State]
    """The worst of all plugins of the host."""
    last: list[float | None]
    """The last value of the metric that stands for the host; null: there are no numbers in the window."""


def overview_host(name: str, row: Row, plugin: str | None) -> OverviewHost:
    """A host of an overview.

    Arguments:
        plugin: only this plugin; None: all of the host.
    """
    values = row.values if plugin is None else {plugin: row.values[plugin]}
    shown = row if plugin is None else row.values[plugin]
    return OverviewHost(
        name,
        shown.state,
        rfc3339(shown.seen_at),
        {each: _plugin_of_host(value) for each, value in values.items()},
    )


def outdated_part(plugin: str, part: OutdatedPartitions) -> OutdatedPart:
    """What is not up to date of a plugin, as a response has it."""
    return OutdatedPart(
        plugin,
        part.worker,
        part.partitions,
        None if part.answered_at is None else rfc3339(part.answered_at),
        part.problem,
    )


def _plugin_of_host(value: Value) -> PluginOfHost:
    activity, line = value.activity, value.line
    interval = activity.interval if activity else None
    return PluginOfHost(
        value.state,
        rfc3339(value.seen_at),
        None if interval is None else interval // span(1),
        activity.config_id if activity else None,
        headline(line.metric, line.headline) if line else None,
    )
