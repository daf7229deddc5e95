"""Lists of hosts, from snapshots: sorted, filtered and paged by the server."""

import math
from collections.abc import Callable
from typing import Any

import msgspec

from sparkle_app.kafka.topology import partition_of
from sparkle_app.model.buckets import Statistics
from sparkle_app.model.time import rfc3339
from sparkle_app.plugin.panel import State
from sparkle_app.web.api import responses
from sparkle_app.web.conditional import Tagged
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, unavailable
from sparkle_app.web.snapshots.fleet import FleetSnapshot, PartState
from sparkle_app.web.snapshots.lines import View
from sparkle_app.web.snapshots.overview import SEVERITY, Overview, OverviewView, Row
from sparkle_app.web.snapshots.pages import Pages
from sparkle_app.web.snapshots.views import Views

STATISTICS = ("average", "minimum", "maximum", "last", "last_at", "count")
"""Of the headline: what lines can be sorted by."""


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which hosts, and in which order."""

    sort: str | None = None
    """What to sort by, with ``-`` before it for the reverse order; None: hostname."""
    state: str | None = None
    """Only hosts in this state."""
    search: str | None = None
    """Only hosts whose name contains this text, in any case."""
    limit: int = 100
    offset: int = 0
    after: str | None = None
    """Only hosts after this one."""


class HostLists:
    """Answers queries for lists."""

    def __init__(self, parts: WebParts, views: Views) -> None:
        self._parts = parts
        self._views = views
        self._overview = OverviewView(parts, views)
        self._overview_pages = Pages(parts.slices)
        self._line_pages = Pages(parts.slices)

    async def lines(self, view: View, query: ListQuery) -> Tagged:
        """Lines of the hosts that have readings in the window.

        Raises:
            Problem: 400, when a parameter is invalid; 503, unless the lines are those of all hosts.
        """
        retention = self._parts.settings.aggregates.window_retention_seconds
        if view.window > retention:
            raise Problem(
                400,
                f"window: expected at most {retention} s, found {view.window};"
                " query /series for longer time ranges",
            )
        _check(query)
        snapshot = await self._views.fleet(view).get()
        if snapshot.doubtful:
            raise unavailable(snapshot.doubtful)
        return await self._line_pages.get(
            (view, snapshot.number), query, lambda: self._lines(view, snapshot, query)
        )

    async def _lines(self, view: View, snapshot: FleetSnapshot, query: ListQuery) -> Tagged:
        lines, panel = snapshot.lines, self._parts.plugins[view.plugin].panel
        number = view, snapshot.number
        by = (query.sort or "").removeprefix("-")
        value = None if by in {"", "host"} else lambda host: _statistic(lines[host].headline, by)
        order = await self._line_pages.sorted(number, query.sort or "", lines, value)
        hosts = await _matching(
            self._line_pages, order, query, lambda host: panel.state(lines[host].headline.last)
        )
        page = hosts[query.offset : query.offset + query.limit]
        return Tagged(
            responses.HostsResponse(
                plugin=view.plugin,
                unit=self._parts.plugins[view.plugin].plugin.unit,
                window_seconds=view.window,
                start=rfc3339(snapshot.start),
                end=rfc3339(snapshot.end),
                hosts=[
                    responses.host(
                        host,
                        lines[host].total,
                        lines[host].metric,
                        lines[host].headline,
                        panel.state(lines[host].headline.last),
                    )
                    for host in page
                ],
                total=len(hosts),
                next=page[-1]
                if query.sort in {None, "host"} and query.offset + query.limit < len(hosts)
                else None,
            )
        )

    async def overview(self, plugin: str | None, query: ListQuery) -> Tagged:
        """All hosts, silent ones included.

        Raises:
            Problem: 503, while the time is not known.
        """
        overview = await self._overview.get()
        return await self._overview_pages.get(
            overview.number, (plugin, query), lambda: self._page(overview, plugin, query)
        )

    async def _page(self, overview: Overview, plugin: str | None, query: ListQuery) -> Tagged:
        hosts = await self._hosts(overview, plugin, query)
        page = hosts[query.offset : query.offset + query.limit]
        return Tagged(
            responses.OverviewResponse(
                **self._header(overview, plugin),
                total=len(hosts),
                hosts=[responses.overview_host(host, overview.rows[host], plugin) for host in page],
            )
        )

    async def cells(self, plugin: str) -> Tagged:
        """State and headline value of every host.

        Raises:
            Problem: 503, while the time is not known.
        """
        overview = await self._overview.get()
        return await self._overview_pages.get(overview.number, plugin, lambda: self._cells(overview, plugin))

    async def one(self, host: str) -> responses.OverviewHostResponse:
        """One host of the overview.

        Raises:
            Problem: 404, when the host is not known; 503, while the time is not known.
        """
        overview = await self._overview.get()
        row = overview.rows.get(host)
        if row is None:
            raise Problem(404, f"host: expected one that has sent readings, found {host[:100]!r}")
        partition = partition_of(host, self._parts.settings.broker.partitions)
        return responses.OverviewHostResponse(
            **msgspec.structs.asdict(responses.overview_host(host, row, None)),
            outdated=[
                _outdated(name, part)
                for name, part in overview.outdated
                if name in row.values and partition in part.partitions
            ],
            problem=overview.problem or None,
        )

    async def names(self, plugin: str, query: ListQuery) -> tuple[list[str], int]:
        """The hosts of a page of :meth:`overview`, and their number on all pages.

        Raises:
            Problem: 503, while the time is not known.
        """
        hosts = await self._hosts(await self._overview.get(), plugin, query)
        return hosts[query.offset : query.offset + query.limit], len(hosts)

    async def _cells(self, overview: Overview, plugin: str) -> Tagged:
        hosts = await self._hosts(overview, plugin, ListQuery())
        states: list[State] = []
        values: list[float | None] = []
        async with self._parts.slices.computation() as computation:
            for host in hosts:
                value = overview.rows[host].values[plugin]
                states.append(value.state)
                values.append(value.line.headline.last if value.line else None)
                await computation.pause()
        return Tagged(
            responses.CellsResponse(
                **self._header(overview, plugin),
                unit=self._parts.plugins[plugin].plugin.unit,
                host=hosts,
                state=states,
                last=values,
            )
        )

    async def _hosts(self, overview: Overview, plugin: str | None, query: ListQuery) -> list[str]:
        rows = overview.rows

        def state(host: str) -> State:
            return rows[host].state if plugin is None else rows[host].values[plugin].state

        by = (query.sort or "").removeprefix("-")
        value: Callable[[str], float | None] | None = None
        if by == "state":
            # Hosts without the plugin are left out below.
            value = lambda host: SEVERITY[state(host)] if plugin in {None, *rows[host].values} else None  # noqa: E731
        elif by == "last_seen":
            value = lambda host: rows[host].seen_at  # noqa: E731
        elif by not in {"", "host"}:
            value = lambda host: _last(rows[host], by)  # noqa: E731
        name = f"{query.sort or ''}/{(plugin or '') if by == 'state' else ''}"
        order = await self._overview_pages.sorted(overview.number, name, rows, value)
        if plugin is not None:
            order = await self._overview_pages.filtered(order, lambda host: plugin in rows[host].values)
        return await _matching(self._overview_pages, order, query, state)

    def _header(self, overview: Overview, plugin: str | None) -> dict[str, Any]:
        return {
            "window_seconds": self._overview.window,
            "start": rfc3339(overview.start),
            "end": rfc3339(overview.end),
            "states": overview.states[plugin or ""],
            "outdated": [_outdated(name, part) for name, part in overview.outdated if plugin in {None, name}],
            "problem": overview.problem or None,
        }


async def _matching(
    pages: Pages, order: list[str], query: ListQuery, state: Callable[[str], str]
) -> list[str]:
    text, after = (query.search or "").casefold(), query.after
    if not text and after is None and query.state is None:
        return order
    return await pages.filtered(
        order,
        lambda host: (
            (after is None or host > after)
            and (query.state is None or state(host) == query.state)
            and (not text or text in host.casefold())
        ),
    )


def _check(query: ListQuery) -> None:
    if query.after is not None and query.sort not in {None, "host"}:
        raise Problem(400, "after: expected the order of hostnames, found sort; use offset")


def _statistic(statistics: Statistics, name: str) -> float | None:
    found = getattr(statistics, name)
    return found if math.isfinite(found) else None


def _last(row: Row, plugin: str) -> float | None:
    value = row.values.get(plugin)
    return value.line.headline.last if value and value.line else None


def _outdated(plugin: str, part: PartState) -> responses.OutdatedPart:
    return responses.OutdatedPart(
        plugin,
        part.worker,
        part.partitions,
        None if part.answered_at is None else rfc3339(part.answered_at),
        part.problem,
    )
