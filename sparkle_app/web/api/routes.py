"""What can be asked: one table, from which requests are routed and the OpenAPI document is made."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from sparkle_app.web.api import responses
from sparkle_app.web.api.history import HistoryQueries
from sparkle_app.web.api.parameters import Parameter, cursor, duration, instant, text, whole
from sparkle_app.web.api.window_queries import WindowQueries
from sparkle_app.web.authentication import PUBLIC
from sparkle_app.web.health import Health, HealthChecker, Live
from sparkle_app.web.parts import WebParts

WINDOW_SECONDS = 15 * 60
MAX_LINES = 1000

_WINDOW = duration("window", "How far back: seconds, or 90s, 15m, 1h; 15m if left out.")
_METRIC = text("metric", "Only this metric; all of them if left out.")
_FROM = instant(
    "from", "Begin, RFC 3339, or a date, which begins in UTC; an hour before the end if left out."
)
_TO = instant("to", "End, RFC 3339, or a date, at whose begin it ends; now if left out.")
_LIMIT = whole("limit", "How many at most; 100 if left out.", MAX_LINES)


@dataclass(frozen=True)
class Route:
    """One question: where it is asked, with what, and what answers it."""

    path: str
    """With {plugin} and {host}."""
    summary: str
    answer: Any
    """Type of the answer."""
    handle: Callable[..., Awaitable[msgspec.Struct]]
    """Called with the path's and the query's parameters, by name; None for those not given."""
    parameters: tuple[Parameter, ...] = ()
    status: Callable[[Any], int] = lambda _answer: 200
    statuses: tuple[int, ...] = (200,)
    """All statuses that carry the answer's type."""

    @property
    def public(self) -> bool:
        """Whether it can be asked without a token."""
        return self.path in PUBLIC


def routes(parts: WebParts) -> list[Route]:
    """All windows."""
    windows, history, health = WindowQueries(parts), HistoryQueries(parts), HealthChecker(parts)

    async def plugins() -> responses.PluginsResponse:
        lines = [
            responses.PluginLine(m.name, m.version, m.author, m.topic, plugin.plugin.unit, m.description)
            for plugin in parts.plugins.values()
            for m in (plugin.manifest,)
        ]
        return responses.PluginsResponse(lines)

    async def fleet(plugin: str, window: int | None) -> responses.FleetResponse:
        return await windows.fleet(plugin, window or WINDOW_SECONDS)

    async def hosts(
        plugin: str, window: int | None, metric: str | None, limit: int | None, after: str | None
    ) -> responses.HostsResponse:
        return await windows.hosts(plugin, window or WINDOW_SECONDS, metric, limit or 100, after or "")

    async def host(plugin: str, host: str, window: int | None) -> responses.HostResponse:
        return await windows.host(plugin, host, window or WINDOW_SECONDS)

    async def series(plugin: str, host: str, **query: Any) -> responses.SeriesResponse:
        return await history.series(plugin, host, query["metric"], query["from"], query["to"], query["step"])

    async def readings(plugin: str, host: str, **query: Any) -> responses.ReadingsResponse:
        limit = query["limit"] or 100
        return await history.readings(plugin, host, query["from"], query["to"], limit, query["after"])

    async def live() -> Live:
        return Live(True)

    api, one = "/api/v1/plugins", "/api/v1/plugins/{plugin}"
    after = text("after", "Lines after this host only: the value of `next`.")
    page = cursor("after", "The value of `next` of the page before.")
    step = duration("step", "Length of a step, a multiple of the buckets' length; one bucket if left out.")
    return [
        Route(api, "Installed plugins", responses.PluginsResponse, plugins),
        Route(one, "All hosts together", responses.FleetResponse, fleet, (_WINDOW,)),
        Route(
            f"{one}/hosts",
            "A line for each host",
            responses.HostsResponse,
            hosts,
            (_WINDOW, _METRIC, _LIMIT, after),
        ),
        Route(f"{one}/hosts/{{host}}", "One host", responses.HostResponse, host, (_WINDOW,)),
        Route(
            f"{one}/hosts/{{host}}/series",
            "One host's durable aggregates, out of SQL",
            responses.SeriesResponse,
            series,
            (_METRIC, _FROM, _TO, step),
        ),
        Route(
            f"{one}/hosts/{{host}}/readings",
            "One host's raw readings, out of SQL",
            responses.ReadingsResponse,
            readings,
            (_FROM, _TO, _LIMIT, page),
        ),
        Route("/health/live", "Whether the process runs", Live, live),
        Route(
            "/health/ready",
            "Whether the worker is at work",
            Health,
            health.check,
            status=lambda health: 200 if health.ready else 503,
            statuses=(200, 503),
        ),
    ]
