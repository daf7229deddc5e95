"""The installed plugins."""

import msgspec

from sparkle_app.plugin.panel import Panel
from sparkle_app.web.parts import WebParts


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


def installed_plugins(parts: WebParts) -> PluginsResponse:
    """All installed plugins."""
    installed = [
        PluginInfo(
            m.name,
            m.version,
            m.author,
            m.topic,
            each.plugin.unit,
            m.description,
            each.panel.headline.metric,
            each.panel,
        )
        for each in parts.plugins.values()
        for m in (each.manifest,)
    ]
    return PluginsResponse(installed)
