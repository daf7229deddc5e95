"""The installed plugins."""

import msgspec

from sparkle_app.plugin.panel import Panel
from sparkle_app.web.api.route import Route
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


def plugins_route(parts: WebParts) -> Route:
    """The installed plugins."""

    async def plugins() -> PluginsResponse:
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

    return Route("/api/v1/plugins", "Installed plugins", PluginsResponse, plugins)
