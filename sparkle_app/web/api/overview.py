"""All hosts, silent ones included, from snapshots."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from sparkle_app.kafka.topology import partition_of
from sparkle_app.model.time import rfc3339
from sparkle_app.plugin.panel import State
from sparkle_app.web.api.host_lists import OFFSET, SEARCH, ListQuery, matching
from sparkle_app.web.api.hosts import check_plugin
from sparkle_app.web.api.overview_responses import (
    CellsResponse,
    OverviewHostResponse,
    OverviewResponse,
    outdated_part,
    overview_host,
)
from sparkle_app.web.api.parameters import LIMIT, MAX_ENTRIES, Parameter, choice, integer, sort, text
from sparkle_app.web.api.route import PLUGIN_PATH, Route
from sparkle_app.web.conditional import Tagged
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem
from sparkle_app.web.snapshots.overview import SEVERITY, Overview, OverviewView, Row, Value
from sparkle_app.web.snapshots.query_cache import QueryCache
from sparkle_app.web.snapshots.views import Views

IN_STATE = choice("state", "Only hosts in this state. Default: all.", list(SEVERITY))
SILENT = integer(
    "silent",
    "Number of entries of `silent_hosts`: the hosts that fell silent last. Default: 0.",
    MAX_ENTRIES,
    0,
)

_FALLEN_SILENT = ListQuery(state="silent", sort="-last_seen")


class Overviews:
    """Answers queries of the overview."""

    def __init__(self, parts: WebParts, views: Views) -> None:
        self._parts = parts
        self._overview = OverviewView(parts, views)
        self._query_cache = QueryCache(parts.slices)

    def page_route(self) -> Route:
        """The pages of the overview."""
        return Route(
            "/api/v1/overview",
            "All hosts: state, last values and time of the last reading, silent hosts included",
            OverviewResponse,
            self.page,
            (
                text("plugin", "Only hosts with this plugin, and only this plugin. Default: all plugins."),
                sort_of_overview(self._parts.plugins),
                IN_STATE,
                SEARCH,
                LIMIT,
                OFFSET,
                SILENT,
            ),
            tagged=True,
            problems={503: "The time is not known"},
        )

    def one_route(self) -> Route:
        """One host."""
        return Route(
            "/api/v1/hosts/{host}",
            "One host: state, last values and time of the last reading",
            OverviewHostResponse,
            self.one,
        )

    def cells_route(self) -> Route:
        """All hosts of a plugin in columns."""
        return Route(
            f"{PLUGIN_PATH}/cells",
            "State and headline value of every host, in columns",
            CellsResponse,
            self.cells,
            tagged=True,
        )

    async def page(self, plugin: str | None, silent: int | None, **listed: Any) -> Tagged:
        """All hosts, silent ones included.

        Raises:
            Problem: 400, when the plugin is not installed; 503, while the time is not known.
        """
        check_plugin(self._parts, plugin)
        query = ListQuery.of(listed)
        overview = await self._overview.get()
        return await self._query_cache.get(
            overview.number,
            overview.made_at,
            (plugin, query, silent),
            lambda: self._page(overview, plugin, query, silent),
        )

    async def _page(
        self, overview: Overview, plugin: str | None, query: ListQuery, silent: int | None
    ) -> Tagged:
        hosts = await self._hosts(overview, plugin, query)
        fallen = await self._hosts(overview, plugin, _FALLEN_SILENT) if silent else []
        page, first = (
            [overview_host(host, overview.rows[host], plugin) for host in each]
            for each in (query.page(hosts), fallen[:silent])
        )
        return Tagged(
            OverviewResponse(
                **self._header(overview, plugin), total=len(hosts), hosts=page, silent_hosts=first
            )
        )

    async def cells(self, plugin: str) -> Tagged:
        """State and headline value of every host.

        Raises:
            Problem: 503, while the time is not known.
        """
        overview = await self._overview.get()
        return await self._query_cache.get(
            overview.number, overview.made_at, plugin, lambda: self._cells(overview, plugin)
        )

    async def one(self, host: str) -> OverviewHostResponse:
        """One host of the overview.

        Raises:
            Problem: 404, when the host is not known; 503, while the time is not known.
        """
        overview = await self._overview.get()
        row = overview.rows.get(host)
        if row is None:
            raise Problem(404, f"host: expected one that has sent readings, found {host[:100]!r}")
        partition = partition_of(host, self._parts.settings.broker.partitions)
        return OverviewHostResponse(
            made_at=rfc3339(overview.made_at),
            **msgspec.structs.asdict(overview_host(host, row, None)),
            outdated=[
                outdated_part(name, part)
                for name, part in overview.outdated
                if name in row.values and partition in part.partitions
            ],
            problem=overview.problem or None,
        )

    async def names(self, plugin: str, query: ListQuery) -> tuple[list[str], int]:
        """Those hosts of a :meth:`page` of all plugins that have one plugin, and the number of hosts on all pages.

        Raises:
            Problem: 503, while the time is not known.
        """
        overview = await self._overview.get()
        hosts = await self._hosts(overview, None, query)
        return [host for host in query.page(hosts) if plugin in overview.rows[host].values], len(hosts)

    async def _cells(self, overview: Overview, plugin: str) -> Tagged:
        hosts = await self._hosts(overview, plugin, ListQuery())
        states: list[State] = []
        worst: list[State] = []
        values: list[float | None] = []
        async with self._parts.slices.computation() as computation:
            for host in hosts:
                row = overview.rows[host]
                value = row.values[plugin]
                states.append(value.state)
                worst.append(row.state)
                values.append(value.line.headline.last if value.line else None)
                await computation.pause()
        return Tagged(
            CellsResponse(
                **self._header(overview, plugin),
                unit=self._parts.plugins[plugin].plugin.unit,
                host=hosts,
                state=states,
                host_state=worst,
                last=values,
            )
        )

    async def _hosts(self, overview: Overview, plugin: str | None, query: ListQuery) -> list[str]:
        rows = overview.rows

        def shown(host: str) -> Row | Value:
            # Hosts without the plugin are left out below.
            return rows[host].values.get(plugin or "", rows[host])

        by = (query.sort or "").removeprefix("-")
        value: Callable[[str], float | None] | None = None
        if by == "state":
            value = lambda host: SEVERITY[shown(host).state]  # noqa: E731
        elif by == "last_seen":
            value = lambda host: shown(host).seen_at  # noqa: E731
        elif by not in {"", "host"}:
            value = lambda host: _last(rows[host], by)  # noqa: E731
        name = f"{query.sort or ''}/{(plugin or '') if by in {'state', 'last_seen'} else ''}"
        order = await self._query_cache.sorted(overview.number, name, rows, value)
        if plugin is not None:
            order = await self._query_cache.filtered(order, lambda host: plugin in rows[host].values)
        return await matching(self._query_cache, order, query, lambda host: shown(host).state)

    def _header(self, overview: Overview, plugin: str | None) -> dict[str, Any]:
        return {
            "window_seconds": self._overview.window,
            "made_at": rfc3339(overview.made_at),
            "start": rfc3339(overview.start),
            "end": rfc3339(overview.end),
            "states": overview.states[plugin or ""],
            "outdated": [
                outdated_part(name, part) for name, part in overview.outdated if plugin in {None, name}
            ],
            "problem": overview.problem or None,
        }


def sort_of_overview(plugins: Iterable[str]) -> Parameter:
    """The order of a list of the overview."""
    return sort(
        "`host` (default), `state` (the worst first), `last_seen` (the oldest first), or the last value of a plugin's"
        " headline:",
        ("state", "last_seen", *plugins),
    )


def _last(row: Row, plugin: str) -> float | None:
    value = row.values.get(plugin)
    return value.line.headline.last if value and value.line else None
