"""Window queries over the bucket tables of all workers: the result is exact, or the status is 503."""

import asyncio
from typing import Any

from sparkle_app.aggregate.windows import host_window, window_bounds
from sparkle_app.config.sections import AggregatesSettings
from sparkle_app.kafka.topology import partition_of
from sparkle_app.model.buckets import Statistics, merge_into
from sparkle_app.model.time import rfc3339
from sparkle_app.web.api.parameters import duration
from sparkle_app.web.api.responses import MetricStatistics, Window, metric
from sparkle_app.web.api.route import HOST_PATH, PLUGIN_PATH, Route
from sparkle_app.web.partition_router import PartialResult, PartitionRouter, WindowQuery
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, current_time, unavailable
from sparkle_app.web.single_flight import SingleFlight
from sparkle_app.web.snapshots.overview import WINDOW_SECONDS

WINDOW = duration(
    "window", "Length of the window: seconds, or a duration such as 90s, 15m, 1h. Default: 15m."
)


class FleetResponse(Window, kw_only=True):
    """Window statistics of all hosts together, by metric."""

    hosts: int
    metrics: dict[str, MetricStatistics]


class HostResponse(Window, kw_only=True):
    """Window statistics of one host, by metric."""

    host: str
    metrics: dict[str, MetricStatistics]


class WindowQueries:
    """Merges results of this worker's tables and of the other workers. Equal queries at one time are computed once."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._router = PartitionRouter(parts)
        self._local: SingleFlight[PartialResult] = SingleFlight()
        self._fleet: SingleFlight[FleetResponse] = SingleFlight()

    def fleet_route(self) -> Route:
        """Statistics of all hosts together."""
        return Route(
            PLUGIN_PATH, "Window statistics of all hosts together", FleetResponse, self.fleet, (WINDOW,)
        )

    def host_route(self) -> Route:
        """Statistics of one host."""
        return Route(HOST_PATH, "Window statistics of one host", HostResponse, self.host, (WINDOW,))

    async def fleet(self, plugin: str, window: int | None) -> FleetResponse:
        """Statistics of all hosts together."""
        window = window or WINDOW_SECONDS
        start, end = self._bounds(window)
        query = WindowQuery(plugin, start, end)
        return await self._fleet.run((query, window), lambda: self._merged(query, window))

    async def _merged(self, query: WindowQuery, window: int) -> FleetResponse:
        partials = await self._all_workers(query)
        metrics: dict[str, Statistics] = {}
        async with self._parts.slices.computation() as computation:
            for partial in partials:
                for name, statistics in partial.metrics.items():
                    merge_into(metrics, name, statistics)
                    await computation.pause()
            by_name = {}
            async for name in computation.sorted(metrics):
                by_name[name] = metric(metrics[name])
                await computation.pause()
        return FleetResponse(
            **self._window(query.plugin, window, query.start, query.end),
            hosts=sum(partial.hosts for partial in partials),
            metrics=by_name,
        )

    async def host(self, plugin: str, host: str, window: int | None) -> HostResponse:
        """Statistics of one host.

        Raises:
            Problem: 404, when the table has no buckets of the host within the window retention.
        """
        window = window or WINDOW_SECONDS
        start, end = self._bounds(window)
        try:
            partition = partition_of(host, self._parts.settings.broker.partitions)
        except UnicodeEncodeError:
            raise Problem(404, "host: expected a hostname, found a lone surrogate in it") from None
        owner = self._router.owners(plugin).get(partition)
        if owner is None:
            raise unavailable("no worker owns the partition of this host yet")
        partial = await self._query(owner, WindowQuery(plugin, start, end, host=host))
        if partition not in partial.partitions:
            raise unavailable(
                "the partition of this host is being reassigned to another worker"
                + self._router.address_hint([partial.partitions])
            )
        if not partial.known:
            retention = self._parts.settings.aggregates.window_retention_seconds
            raise Problem(
                404,
                f"no aggregates of {plugin} from host {host[:100]!r} in the last {retention} s (window retention);"
                " …/readings returns all stored values, also those that are not aggregated",
            )
        return HostResponse(
            **self._window(plugin, window, start, end),
            host=host,
            metrics={name: metric(partial.metrics[name]) for name in sorted(partial.metrics)},
        )

    async def local(self, query: WindowQuery) -> PartialResult:
        """The partial result of this worker.

        Raises:
            Problem: 503, when partitions were reassigned during the query.
        """
        return await self._local.run(query, lambda: self._compute(query))

    async def _compute(self, query: WindowQuery) -> PartialResult:
        table = self._parts.tables[query.plugin]
        generation, owned = self._parts.group.generation, table.owned()
        if query.start < table.pruned_before:
            raise unavailable(
                "buckets of this window were pruned: the clock of the worker that has them is ahead"
            )
        partial = PartialResult(sorted(owned), 0, False, {})
        hostnames = table.hostnames() if query.host is None else [query.host]
        async with self._parts.slices.computation() as computation:
            for hostname in hostnames:
                await computation.pause()
                metrics = host_window(table, hostname, query.start, query.end)
                if not metrics:
                    continue
                partial.hosts += 1
                for name, statistics in metrics.items():
                    merge_into(partial.metrics, name, statistics)
        partial.known = query.host is not None and table.has(query.host)
        if table.owned() != owned or self._parts.group.generation != generation:
            raise unavailable("partitions were reassigned during the query")
        return partial

    async def _all_workers(self, query: WindowQuery) -> list[PartialResult]:
        """The partial results of all workers, which together cover every partition exactly once."""
        owners = self._router.owners(query.plugin)
        partials = await asyncio.gather(*(self._query(url, query) for url in sorted(set(owners.values()))))
        covered = sorted(partition for partial in partials for partition in partial.partitions)
        if covered != list(range(self._parts.settings.broker.partitions)):
            raise unavailable(
                "not every partition is owned by exactly one worker at this moment"
                + self._router.address_hint([each.partitions for each in partials])
            )
        return partials

    async def _query(self, url: str, query: WindowQuery) -> PartialResult:
        return await (self.local(query) if self._router.is_local(url) else self._router.query(url, query))

    def _bounds(self, window: int) -> tuple[int, int]:
        aggregates = self._parts.settings.aggregates
        check_window(aggregates, window)
        return window_bounds(current_time(self._parts.clock), window, aggregates.bucket_seconds)

    def _window(self, plugin: str, window: int, start: int, end: int) -> dict[str, Any]:
        return {
            "plugin": plugin,
            "unit": self._parts.plugins[plugin].plugin.unit,
            "window_seconds": window,
            "start": rfc3339(start),
            "end": rfc3339(end),
        }


def check_window(aggregates: AggregatesSettings, window: int) -> None:
    """Check the parameter ``window``, in seconds.

    Raises:
        Problem: 400, when it is longer than the window retention.
    """
    if window > aggregates.window_retention_seconds:
        raise Problem(
            400,
            f"window: expected at most {aggregates.window_retention_seconds} s, found {window};"
            " query /series for longer time ranges",
        )
