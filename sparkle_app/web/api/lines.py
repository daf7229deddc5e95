"""Window statistics by host: the hosts that have readings in the window, from snapshots."""

import math
from collections import OrderedDict
from typing import Annotated, Any

import msgspec

from sparkle_app.model.buckets import Statistics
from sparkle_app.model.time import rfc3339
from sparkle_app.plugin.panel import State
from sparkle_app.web.api.host_lists import AFTER, OFFSET, SEARCH, ListQuery, matching
from sparkle_app.web.api.parameters import LIMIT, choice, sort, text
from sparkle_app.web.api.responses import (
    HeadlineStatistics,
    MadeAt,
    MetricStatistics,
    Window,
    headline,
    numbers,
)
from sparkle_app.web.api.route import PLUGIN_PATH, Route
from sparkle_app.web.api.window_queries import WINDOW, check_window
from sparkle_app.web.conditional import Tagged
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, unavailable
from sparkle_app.web.snapshots.fleet import FleetSnapshot
from sparkle_app.web.snapshots.lines import View
from sparkle_app.web.snapshots.overview import WINDOW_SECONDS
from sparkle_app.web.snapshots.query_cache import QueryCache
from sparkle_app.web.snapshots.views import Views

STATISTICS = ("average", "minimum", "maximum", "last", "last_at", "count")
"""Of the headline: what lines can be sorted by."""
MAX_CACHES = 4
"""Views of which orders and responses are kept: those that were asked for last."""
_MIXED = msgspec.Meta(
    description="Over all metrics of the host together: use `headline`, or the parameter `metric`.",
    extra_json_schema={"deprecated": True},
)


class HostStatistics(MetricStatistics, kw_only=True):
    """Statistics of one host over all its metrics, or over the requested one."""

    host: str
    average: Annotated[float | None, _MIXED]
    last: Annotated[float, _MIXED]
    headline: HeadlineStatistics
    state: State
    """According to the plugin's thresholds: ok, warning or critical."""


class HostsResponse(Window, kw_only=True):
    """Window statistics by host, of the hosts that have readings in the window."""

    made_at: MadeAt
    hosts: list[HostStatistics]
    total: int
    """Number of hosts on all pages, after `after` if it is given."""
    next: str | None
    """The value of `after` for the next page; null on the last page, and if `sort` is given."""


class Lines:
    """Answers queries of lines."""

    def __init__(self, parts: WebParts, views: Views) -> None:
        self._parts = parts
        self._views = views
        self._query_caches: OrderedDict[View, QueryCache] = OrderedDict()

    def route(self) -> Route:
        """The pages of lines."""
        return Route(
            f"{PLUGIN_PATH}/hosts",
            "Window statistics by host",
            HostsResponse,
            self.page,
            (
                WINDOW,
                text("metric", "Only this metric. Default: all metrics."),
                sort(
                    "`host` (default), or a statistic of the headline, which may be null and is then last:",
                    STATISTICS,
                ),
                choice("state", "Only hosts in this state. Default: all.", ["ok", "warning", "critical"]),
                SEARCH,
                LIMIT,
                OFFSET,
                AFTER,
            ),
            tagged=True,
        )

    async def page(self, plugin: str, window: int | None, metric: str | None, **listed: Any) -> Tagged:
        """Lines of the hosts that have readings in the window.

        Raises:
            Problem: 400, when a parameter is invalid; 503, unless the lines are those of all hosts.
        """
        view, query = View(plugin, window or WINDOW_SECONDS, metric), ListQuery.of(listed)
        check_window(self._parts.settings.aggregates, view.window)
        _check(query)
        snapshot = await self._views.fleet(view).get()
        if snapshot.doubtful:
            raise unavailable(snapshot.doubtful)
        cache = self._query_cache(view)
        return await cache.get(
            snapshot.number, snapshot.made_at, query, lambda: self._lines(view, snapshot, query, cache)
        )

    def _query_cache(self, view: View) -> QueryCache:
        found = self._query_caches.setdefault(view, QueryCache(self._parts.slices))
        self._query_caches.move_to_end(view)
        if len(self._query_caches) > MAX_CACHES:
            self._query_caches.popitem(last=False)
        return found

    async def _lines(
        self, view: View, snapshot: FleetSnapshot, query: ListQuery, cache: QueryCache
    ) -> Tagged:
        lines, panel = snapshot.lines, self._parts.plugins[view.plugin].panel
        by = (query.sort or "").removeprefix("-")
        value = None if by in {"", "host"} else lambda host: _statistic(lines[host].headline, by)
        order = await cache.sorted(snapshot.number, query.sort or "", lines, value)
        hosts = await matching(cache, order, query, lambda host: panel.state(lines[host].headline.last))
        page = query.page(hosts)
        return Tagged(
            HostsResponse(
                plugin=view.plugin,
                unit=self._parts.plugins[view.plugin].plugin.unit,
                window_seconds=view.window,
                made_at=rfc3339(snapshot.made_at),
                start=rfc3339(snapshot.start),
                end=rfc3339(snapshot.end),
                hosts=[
                    host_statistics(
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


def host_statistics(
    name: str, total: Statistics, metric: str, statistics: Statistics, state: State
) -> HostStatistics:
    """The statistics of a host.

    Arguments:
        total: over the requested metrics together.
        metric: the metric that stands for the host.
        statistics: of this metric.
    """
    return HostStatistics(
        host=name,
        headline=headline(metric, statistics),
        state=state,
        **numbers(total),
    )


def _check(query: ListQuery) -> None:
    if query.after is not None and query.sort not in {None, "host"}:
        raise Problem(400, "after: expected the order of hostnames, found sort; use offset")


def _statistic(statistics: Statistics, name: str) -> float | None:
    found = getattr(statistics, name)
    return found if math.isfinite(found) else None
