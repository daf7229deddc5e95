"""What the overview shows of a host."""

import msgspec

from sparkle_app.model.time import rfc3339, span
from sparkle_app.plugin.panel import State
from sparkle_app.web.api.responses import Headline, Time, headline
from sparkle_app.web.snapshots.overview import Row, Value


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
        headline(line.metric, line.headline) if line else None,
    )
