"""The headline of many hosts over time, for the heat map of hosts and time."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection

from sparkle_app.model.time import rfc3339, span
from sparkle_app.plugin.headlines import Averages, load_headlines
from sparkle_app.storage.resolutions import Coverage, finest_resolution, sources, stored_resolutions
from sparkle_app.storage.retention import watermarks
from sparkle_app.web.api.history import FROM, TO, time_range
from sparkle_app.web.api.host_lists import OFFSET, SEARCH, ListQuery
from sparkle_app.web.api.overview import IN_STATE, Overviews, sort_of_overview
from sparkle_app.web.api.parameters import integer
from sparkle_app.web.api.responses import MadeAt, Time
from sparkle_app.web.api.route import PLUGIN_PATH, Route
from sparkle_app.web.api.steps import step_for
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, current_time
from sparkle_app.web.queries import from_database
from sparkle_app.web.single_flight import SingleFlight

MAX_HOSTS = 100
MAX_STEPS = 100
MAX_BUCKETS = 160_000
"""Of all hosts together, of each of their metrics: those of 100 hosts in a day."""


class HeadlinesResponse(msgspec.Struct, kw_only=True, rename={"start": "from", "end": "to"}):
    """The metric that stands for a host, of a page of hosts over time.

    States, order and pages are those of all plugins together, as in `/api/v1/overview` without `plugin`.
    """

    made_at: MadeAt
    plugin: str
    unit: str
    start: Time
    end: Time
    step_seconds: int
    total: int
    """Number of hosts on all pages, those without the plugin included."""
    host: list[str]
    """The hosts of the page that have the plugin."""
    average: list[list[float | None]]
    """Of each host, of each step from `from`: the average of the headline, or the highest (or lowest) average of a
    metric, as the plugin's panel says; null: no readings."""


class HeadlinesQuery(msgspec.Struct, frozen=True):
    """What is asked for. The steps depend on what is stored."""

    plugin: str
    hosts: tuple[str, ...]
    start: int
    end: int
    points: int


class LoadedHeadlines(msgspec.Struct, frozen=True):
    """Averages in whole steps."""

    made_at: int
    averages: Averages
    start: int
    end: int
    step: int
    """In seconds."""


class Headlines:
    """Answers queries of headlines over time. Equal ones at one time are executed once."""

    def __init__(self, parts: WebParts, overviews: Overviews) -> None:
        self._parts = parts
        self._overviews = overviews
        self._running: SingleFlight[LoadedHeadlines] = SingleFlight()

    def route(self) -> Route:
        """The pages of headlines."""
        return Route(
            f"{PLUGIN_PATH}/headlines",
            "The metric that stands for a host, of many hosts over time, in columns, from SQL",
            HeadlinesResponse,
            self.page,
            (
                FROM,
                TO,
                integer(
                    "points",
                    f"Approximate maximum number of steps. Default: {MAX_STEPS}. The step is rounded up to a common"
                    " duration, such as 5m or 1h.",
                    MAX_STEPS,
                ),
                sort_of_overview(self._parts.plugins),
                IN_STATE,
                SEARCH,
                integer("limit", f"Maximum number of hosts. Default: {MAX_HOSTS}.", MAX_HOSTS),
                OFFSET,
            ),
        )

    async def page(self, plugin: str, points: int | None, **query: Any) -> HeadlinesResponse:
        """The headlines of a page of hosts.

        Raises:
            Problem: 400, when a parameter is invalid; 503, when the database does not work at this moment.
        """
        start, end = time_range(self._parts.clock, query.pop("from"), query.pop("to"))
        hosts, total = await self._overviews.names(plugin, ListQuery.of(query))
        asked = HeadlinesQuery(plugin, tuple(hosts), start, end, points or MAX_STEPS)
        found = await self._running.run(asked, lambda: from_database(self._parts, partial(self._load, asked)))
        steps = range(found.start, found.end, span(found.step))
        return HeadlinesResponse(
            made_at=rfc3339(found.made_at),
            plugin=plugin,
            unit=self._parts.plugins[plugin].plugin.unit,
            start=rfc3339(found.start),
            end=rfc3339(found.end),
            step_seconds=found.step,
            total=total,
            host=hosts,
            average=[[found.averages[host].get(at) for at in steps] for host in hosts],
        )

    def _load(self, query: HeadlinesQuery, connection: Connection) -> LoadedHeadlines:
        # Who joins a query that is running gets averages of when it began.
        made_at = current_time(self._parts.clock)
        installed = self._parts.plugins[query.plugin]
        marks = watermarks(connection, query.plugin, self._parts.settings.aggregates.bucket_seconds)
        step = step_for(query.end - query.start, query.points, finest_resolution(marks, query.start))
        width = span(step)
        start, end = query.start - query.start % width, -(-query.end // width) * width
        stored = stored_resolutions(marks, start, end)
        _check(len(query.hosts), stored, start, end, step)
        scope = (connection, query.hosts, stored, start, end, step)
        averages = load_headlines(installed.plugin, installed.panel.headline, *scope) if query.hosts else {}
        return LoadedHeadlines(made_at, averages, start, end, step)


def _check(hosts: int, stored: Sequence[Coverage], start: int, end: int, step: int) -> None:
    found = sources(stored, start, end, step)
    buckets = hosts * sum((each.end - each.start) // span(each.resolution) for each in found)
    if buckets > MAX_BUCKETS:
        raise Problem(
            400,
            f"from: expected at most {MAX_BUCKETS} stored buckets of all hosts, found {buckets};"
            " use a shorter time range, or limit",
            limit="buckets",
        )
