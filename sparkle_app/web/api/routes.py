"""The public routes: one list for both the router and the OpenAPI document."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sparkle_app.dead_letters.selection import Filter
from sparkle_app.model.errors import Reason
from sparkle_app.web.api.completeness import CompletenessResponse, completeness_of
from sparkle_app.web.api.dead_letters import (
    DeadLetterFilter,
    DeadLetterResponse,
    DeadLetters,
    DeadLettersResponse,
)
from sparkle_app.web.api.headlines import MAX_HOSTS, MAX_STEPS, Headlines, HeadlinesResponse
from sparkle_app.web.api.history import CsvFile, time_range
from sparkle_app.web.api.host_lists import ListQuery
from sparkle_app.web.api.hosts import HostQueries, KnownHostsResponse
from sparkle_app.web.api.lines import STATISTICS, HostsResponse, Lines
from sparkle_app.web.api.overview import CellsResponse, OverviewHostResponse, OverviewResponse, Overviews
from sparkle_app.web.api.parameters import (
    Parameter,
    choice,
    cursor,
    duration,
    instant,
    integer,
    repeated,
    sort,
    text,
)
from sparkle_app.web.api.pipeline import Pipeline, PipelineResponse
from sparkle_app.web.api.plugins import PluginsResponse, installed_plugins
from sparkle_app.web.api.readings import ReadingsQueries, ReadingsResponse
from sparkle_app.web.api.recount import RecountResponse, Recounts
from sparkle_app.web.api.replay import ReplayResponse, Replays
from sparkle_app.web.api.series import (
    MAX_POINTS,
    ColumnsResponse,
    SeriesParameters,
    SeriesQueries,
    SeriesResponse,
)
from sparkle_app.web.api.session import SessionResponse, session
from sparkle_app.web.api.window_queries import FleetResponse, HostResponse, WindowQueries
from sparkle_app.web.authentication import PUBLIC
from sparkle_app.web.conditional import Tagged
from sparkle_app.web.health import Health, HealthChecker, Live
from sparkle_app.web.parts import WebParts
from sparkle_app.web.snapshots.lines import View
from sparkle_app.web.snapshots.overview import SEVERITY
from sparkle_app.web.snapshots.views import Views

WINDOW_SECONDS = 15 * 60
MAX_ENTRIES = 1000

_WINDOW = duration(
    "window", "Length of the window: seconds, or a duration such as 90s, 15m, 1h. Default: 15m."
)
_METRIC = text("metric", "Only this metric. Default: all metrics.")
_METRICS = repeated(text("metric", "Only these metrics: may be given several times. Default: all metrics."))
_POINTS = integer(
    "points",
    "Instead of `step`: a usual step is chosen, such as 5m, 1h or 1d, that gives at most about so many points.",
    MAX_POINTS,
)
_FROM = instant(
    "from", "Start of the time range: RFC 3339, or a date (00:00 UTC). Default: one hour before the end."
)
_TO = instant("to", "End of the time range, exclusive: RFC 3339, or a date (00:00 UTC). Default: now.")
_SEARCH = text("search", "Only hosts whose name contains this text, in any case.")
_OFFSET = integer("offset", "Leave out so many hosts: those of previous pages. Default: 0.", 999_999_999, 0)
_OFFSET_OF_DEAD_LETTERS = integer(
    "offset", "Leave out so many, those of previous pages. Default: 0.", 999_999_999, 0
)
_DEAD_LETTERS = (
    choice("reason", "Only those with this reason. Default: all.", [each.value for each in Reason]),
    text("host", "Only those of this host. Default: all."),
    integer("config", "Only those with this config id. Default: all.", 999_999_999, 0),
    text("topic", "Only those of records of this topic. Default: all."),
)
_OTHER_WORKERS = {502: "Unexpected response from another worker", 503: "Another worker does not answer"}
_LIMIT = integer("limit", "Maximum number of entries. Default: 100.", MAX_ENTRIES)


@dataclass(frozen=True)
class Route:
    """An endpoint: path, parameters, handler and response."""

    path: str
    """May contain {plugin}, {host} and {key}."""
    summary: str
    response: Any
    """Type of the response body."""
    handle: Callable[..., Awaitable[msgspec.Struct | Tagged]]
    """Called with path and query parameters by name; None for a query parameter that is absent."""
    parameters: tuple[Parameter, ...] = ()
    status: Callable[[Any], int] = lambda _response: 200
    statuses: tuple[int, ...] = (200,)
    """All statuses whose body has the response type."""
    csv: Callable[..., Awaitable[CsvFile]] | None = None
    """The response as CSV, called as ``handle``; None: there is only JSON."""
    tagged: bool = False
    """Whether the response has an entity tag."""
    public_part: Callable[[Any], msgspec.Struct] = lambda response: response
    """What an unauthorized request gets of the response, if the path is public."""
    writes: bool = False
    """Whether it changes something: the method is POST instead of GET, and the role of an operator is required."""
    knows_access: bool = False
    """Whether ``handle`` also gets the argument ``access``: what the request may do."""
    problems: Mapping[int, str] = field(default_factory=dict)
    """Further statuses of errors, with descriptions."""

    @property
    def method(self) -> str:
        """The HTTP method, in lower case."""
        return "post" if self.writes else "get"

    @property
    def public(self) -> bool:
        """Whether requests need no token."""
        return self.path in PUBLIC


def routes(
    parts: WebParts, windows: WindowQueries, views: Views, pipeline: Pipeline, replays: Replays
) -> list[Route]:
    """All public routes."""
    lines, overviews, known = Lines(parts, views), Overviews(parts, views), HostQueries(parts)
    headlines, of_hosts, of_rows = Headlines(parts, overviews), SeriesQueries(parts), ReadingsQueries(parts)
    recounts, dead, health = Recounts(parts), DeadLetters(parts), HealthChecker(parts)

    async def plugins() -> PluginsResponse:
        return installed_plugins(parts)

    async def fleet(plugin: str, window: int | None) -> FleetResponse:
        return await windows.fleet(plugin, window or WINDOW_SECONDS)

    async def hosts(plugin: str, window: int | None, metric: str | None, **query: Any) -> Tagged:
        return await lines.page(View(plugin, window or WINDOW_SECONDS, metric), of_list(query))

    async def overview(plugin: str | None, **query: Any) -> Tagged:
        known.check(plugin)
        return await overviews.page(plugin, of_list(query))

    async def cells(plugin: str) -> Tagged:
        return await overviews.cells(plugin)

    async def over_time(plugin: str, points: int | None, **query: Any) -> HeadlinesResponse:
        start, end = query.pop("from"), query.pop("to")
        return await headlines.page(plugin, start, end, points or MAX_STEPS, of_list(query))

    def of_list(query: dict[str, Any]) -> ListQuery:
        return ListQuery(**{name: value for name, value in query.items() if value is not None})

    async def known_hosts(
        plugin: str | None, state: str | None, clock: str | None, limit: int | None, after: str | None
    ) -> KnownHostsResponse:
        return await known.page(plugin, state, clock, limit or 100, after or "")

    async def host(plugin: str, host: str, window: int | None) -> HostResponse:
        return await windows.host(plugin, host, window or WINDOW_SECONDS)

    def of_series(plugin: str, host: str, query: Mapping[str, Any]) -> SeriesParameters:
        return SeriesParameters(
            plugin=plugin,
            host=host,
            metrics=query["metric"],
            start=query["from"],
            end=query["to"],
            step=query["step"],
            points=query.get("points"),
        )

    async def series(plugin: str, host: str, **query: Any) -> SeriesResponse:
        return await of_hosts.series(of_series(plugin, host, query))

    async def columns(plugin: str, host: str, **query: Any) -> ColumnsResponse:
        return await of_hosts.columns(of_series(plugin, host, query))

    async def series_csv(plugin: str, host: str, **query: Any) -> CsvFile:
        return await of_hosts.series_csv(of_series(plugin, host, query))

    def of_readings(query: Mapping[str, Any]) -> tuple[Any, ...]:
        return query["from"], query["to"], query["limit"] or 100, query["after"], query["metric"]

    async def readings(plugin: str, host: str, **query: Any) -> ReadingsResponse:
        return await of_rows.readings(plugin, host, *of_readings(query))

    async def readings_csv(plugin: str, host: str, **query: Any) -> CsvFile:
        return await of_rows.readings_csv(plugin, host, *of_readings(query))

    async def recount(plugin: str, host: str, **query: Any) -> RecountResponse:
        return await recounts.recount(plugin, host, *time_range(parts.clock, query["from"], query["to"]))

    async def how_complete(plugin: str, host: str, **query: Any) -> CompletenessResponse:
        return await completeness_of(
            parts, plugin, host, *time_range(parts.clock, query["from"], query["to"])
        )

    async def dead_letters(limit: int | None, offset: int | None, **chosen: Any) -> Tagged:
        return await dead.page(DeadLetterFilter(**chosen), limit or 100, offset or 0)

    async def replay(config: int | None, **query: Any) -> ReplayResponse:
        everything = query.pop("all") is not None
        return await replays.start(Filter(config_id=config, **query), everything)

    async def live() -> Live:
        return Live(True)

    api, one = "/api/v1/plugins", "/api/v1/plugins/{plugin}"
    after = text("after", "Only hosts after this one: the `next` value of the previous page.")
    page = cursor("after", "The `next` value of the previous page.")
    step = duration(
        "step",
        "Length of a step: a multiple of the bucket size. Default: one bucket. At most 10000 steps, and 50000 points of"
        " all metrics together.",
    )
    of_overview = sort(
        "`host` (default), `state` (the worst first), `last_seen` (the oldest first), or the last value of a plugin's"
        " headline:",
        ("state", "last_seen", *parts.plugins),
    )
    in_state = choice("state", "Only hosts in this state. Default: all.", list(SEVERITY))
    return [
        Route(api, "Installed plugins", PluginsResponse, plugins),
        Route(
            "/api/v1/hosts",
            "Hosts that have sent readings, and when they last did, from SQL",
            KnownHostsResponse,
            known_hosts,
            (
                text("plugin", "Only hosts that have sent readings of this plugin. Default: all plugins."),
                choice("state", "Only hosts of which a plugin is silent. Default: all hosts.", ["silent"]),
                choice("clock", "Only hosts whose clock is not trusted. Default: all hosts.", ["untrusted"]),
                _LIMIT,
                after,
            ),
        ),
        Route(
            "/api/v1/hosts/{host}",
            "One host: state, last values and time of the last reading",
            OverviewHostResponse,
            overviews.one,
        ),
        Route(
            "/api/v1/overview",
            "All hosts: state, last values and time of the last reading, silent hosts included",
            OverviewResponse,
            overview,
            (
                text("plugin", "Only hosts with this plugin, and only this plugin. Default: all plugins."),
                of_overview,
                in_state,
                _SEARCH,
                _LIMIT,
                _OFFSET,
            ),
            tagged=True,
        ),
        Route(one, "Window statistics of all hosts together", FleetResponse, fleet, (_WINDOW,)),
        Route(
            f"{one}/hosts",
            "Window statistics by host",
            HostsResponse,
            hosts,
            (
                _WINDOW,
                _METRIC,
                sort(
                    "`host` (default), or a statistic of the headline, which may be null and is then last:",
                    STATISTICS,
                ),
                choice("state", "Only hosts in this state. Default: all.", ["ok", "warning", "critical"]),
                _SEARCH,
                _LIMIT,
                _OFFSET,
                after,
            ),
            tagged=True,
        ),
        Route(
            f"{one}/cells",
            "State and headline value of every host, in columns",
            CellsResponse,
            cells,
            tagged=True,
        ),
        Route(
            f"{one}/headlines",
            "The metric that stands for a host, of many hosts over time, in columns, from SQL",
            HeadlinesResponse,
            over_time,
            (
                _FROM,
                _TO,
                integer(
                    "points",
                    f"About so many steps. Default: {MAX_STEPS}. The step is a usual one.",
                    MAX_STEPS,
                ),
                of_overview,
                in_state,
                _SEARCH,
                integer("limit", f"Maximum number of hosts. Default: {MAX_HOSTS}.", MAX_HOSTS),
                _OFFSET,
            ),
        ),
        Route(f"{one}/hosts/{{host}}", "Window statistics of one host", HostResponse, host, (_WINDOW,)),
        Route(
            f"{one}/hosts/{{host}}/series",
            "Aggregates of one host, from SQL",
            SeriesResponse,
            series,
            (_METRICS, _FROM, _TO, step),
            csv=series_csv,
        ),
        Route(
            f"{one}/hosts/{{host}}/columns",
            "Aggregates of one host in columns, for charts, from SQL",
            ColumnsResponse,
            columns,
            (_METRICS, _FROM, _TO, step, _POINTS),
        ),
        Route(
            f"{one}/hosts/{{host}}/readings",
            "Stored readings of one host, from SQL",
            ReadingsResponse,
            readings,
            (_METRICS, _FROM, _TO, _LIMIT, page),
            csv=readings_csv,
        ),
        Route(
            f"{one}/hosts/{{host}}/recount",
            "Aggregates of one host, compared with its stored readings now",
            RecountResponse,
            recount,
            (_FROM, _TO),
        ),
        Route(
            f"{one}/hosts/{{host}}/completeness",
            "How often one host sent readings, compared with its usual interval, and when it did not",
            CompletenessResponse,
            how_complete,
            (_FROM, _TO),
        ),
        Route(
            "/api/v1/dead-letters/replay",
            "The replay of dead letters that is running, or else the last one",
            ReplayResponse,
            replays.state,
            problems=_OTHER_WORKERS,
        ),
        Route(
            "/api/v1/dead-letters/replay",
            "Replay dead letters: produce their records back to their topics",
            ReplayResponse,
            replay,
            (
                choice("all", "All of them: required without filters.", ["true"]),
                *_DEAD_LETTERS,
                instant("since", "Only those of records received at this time or later. Default: all."),
                instant("until", "Only those of records received before this time. Default: all."),
            ),
            status=lambda _response: 202,
            statuses=(202,),
            writes=True,
            problems={409: "A replay is running", **_OTHER_WORKERS},
        ),
        Route(
            "/api/v1/dead-letters",
            "Dead letters: counts, and a page of the newest",
            DeadLettersResponse,
            dead_letters,
            (
                *_DEAD_LETTERS,
                _LIMIT,
                _OFFSET_OF_DEAD_LETTERS,
            ),
            problems={503: "The broker does not answer"},
            tagged=True,
        ),
        Route(
            "/api/v1/dead-letters/{key}",
            "One dead letter, and whether its record would be stored now",
            DeadLetterResponse,
            dead.one,
        ),
        Route(
            "/api/v1/pipeline",
            "What each worker consumes, how far it lags behind, and what it waits for",
            PipelineResponse,
            pipeline.state,
        ),
        Route(
            "/api/v1/session",
            "What the request may do",
            SessionResponse,
            session,
            knows_access=True,
        ),
        Route("/health/live", "Liveness: the process is running", Live, live),
        Route(
            "/health/ready",
            "Readiness: partitions assigned, tables recovered, broker and database available. Without a valid token"
            " (or, if none is configured, without a Host header that names this machine) `checks` is absent",
            Health,
            health.check,
            status=lambda health: 200 if health.ready else 503,
            statuses=(200, 503),
            public_part=lambda health: Health(health.ready),
        ),
    ]
