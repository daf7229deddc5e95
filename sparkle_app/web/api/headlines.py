"""The headline of many hosts over time, for the heat map of hosts and time."""

import msgspec

from sparkle_app.model.time import rfc3339, span
from sparkle_app.plugin.headlines import Averages, load_headlines
from sparkle_app.storage.resolutions import Coverage, sources, stored_resolutions
from sparkle_app.web.api import responses
from sparkle_app.web.api.history import HistoryQueries
from sparkle_app.web.api.host_lists import HostLists, ListQuery
from sparkle_app.web.api.steps import step_for
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem
from sparkle_app.web.queries import from_database
from sparkle_app.web.single_flight import SingleFlight

MAX_HOSTS = 100
MAX_STEPS = 100
MAX_BUCKETS = 160_000
"""Of all hosts together, of each of their metrics: those of 100 hosts in a day."""


class HeadlinesQuery(msgspec.Struct, frozen=True):
    """A query of :func:`load_headlines`."""

    plugin: str
    hosts: tuple[str, ...]
    stored: tuple[Coverage, ...]
    start: int
    end: int
    step: int


class Headlines:
    """Answers queries of headlines over time. Equal ones at one time are executed once."""

    def __init__(self, parts: WebParts, lists: HostLists, history: HistoryQueries) -> None:
        self._parts = parts
        self._lists = lists
        self._history = history
        self._running: SingleFlight[Averages] = SingleFlight()

    async def page(
        self, plugin: str, start: int | None, end: int | None, points: int, listed: ListQuery
    ) -> responses.HeadlinesResponse:
        """The headlines of a page of hosts.

        Raises:
            Problem: 400, when a parameter is invalid; 503, when the database does not work at this moment.
        """
        bucket_size = self._parts.settings.aggregates.bucket_seconds
        start, end = self._history.time_range(start, end)
        step = step_for(end - start, points, bucket_size)
        width = span(step)
        start, end = start - start % width, -(-end // width) * width
        hosts, total = await self._lists.names(plugin, listed)
        stored = tuple(stored_resolutions(bucket_size, start, end))
        _check(len(hosts), stored, start, end, step)
        query = HeadlinesQuery(plugin, tuple(hosts), stored, start, end, step)
        averages = await self._running.run(query, lambda: self._load(query))
        steps = range(start, end, width)
        return responses.HeadlinesResponse(
            plugin=plugin,
            unit=self._parts.plugins[plugin].plugin.unit,
            start=rfc3339(start),
            end=rfc3339(end),
            step_seconds=step,
            total=total,
            host=hosts,
            average=[[averages[host].get(at) for at in steps] for host in hosts],
        )

    async def _load(self, query: HeadlinesQuery) -> Averages:
        installed = self._parts.plugins[query.plugin]
        if not query.hosts:
            return {}
        return await from_database(
            self._parts,
            lambda connection: load_headlines(
                installed.plugin,
                installed.panel.headline,
                connection,
                query.hosts,
                query.stored,
                query.start,
                query.end,
                query.step,
            ),
        )


def _check(hosts: int, stored: tuple[Coverage, ...], start: int, end: int, step: int) -> None:
    found = sources(stored, start, end, step)
    buckets = hosts * sum((each.end - each.start) // span(each.resolution) for each in found)
    if buckets > MAX_BUCKETS:
        raise Problem(
            400,
            f"from: expected at most {MAX_BUCKETS} stored buckets of all hosts, found {buckets};"
            " use a shorter time range, or limit",
        )
