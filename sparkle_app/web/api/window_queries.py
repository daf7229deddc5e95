"""Answers about rolling windows, out of the tables of all workers: right, or 503."""

import asyncio
import time
from typing import Any

from sparkle_app.aggregate.windows import host_window, window_bounds
from sparkle_app.kafka.topology import partition_of
from sparkle_app.model.buckets import Statistics, merge_into, merged
from sparkle_app.model.time import from_seconds, rfc3339
from sparkle_app.web.api import responses
from sparkle_app.web.partition_router import PartialResult, PartitionRouter, WindowQuery
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, unavailable

# So many hosts are merged before other work gets its turn.
_HOSTS_PER_SLICE = 100


class WindowQueries:
    """Asks this worker's tables, and other workers for what they hold."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._router = PartitionRouter(parts)

    async def fleet(self, plugin: str, window: int) -> responses.FleetResponse:
        """All hosts together."""
        start, end = self._bounds(window)
        partials = await self._all_workers(WindowQuery(plugin, start, end))
        metrics = merged(partial.metrics for partial in partials)
        return responses.FleetResponse(
            **self._window(plugin, window, start, end),
            hosts=sum(partial.hosts for partial in partials),
            metrics={name: responses.metric(metrics[name]) for name in sorted(metrics)},
        )

    async def hosts(
        self, plugin: str, window: int, metric: str | None, limit: int, after: str
    ) -> responses.HostsResponse:
        """A line for each host."""
        start, end = self._bounds(window)
        query = WindowQuery(plugin, start, end, metric=metric, limit=limit + 1, after=after)
        lines = sorted(
            (line for partial in await self._all_workers(query) for line in partial.lines),
            key=lambda line: line[0],
        )
        return responses.HostsResponse(
            **self._window(plugin, window, start, end),
            hosts=[responses.host_line(host, statistics) for host, statistics in lines[:limit]],
            next=lines[limit - 1][0] if len(lines) > limit else None,
        )

    async def host(self, plugin: str, host: str, window: int) -> responses.HostResponse:
        """One host.

        Raises:
            Problem: 404, when it has sent nothing within the table's horizon.
        """
        start, end = self._bounds(window)
        try:
            partition = partition_of(host, self._parts.settings.broker.partitions)
        except UnicodeEncodeError:
            raise Problem(404, "no host has half a surrogate pair in its name") from None
        owner = self._router.of_plugin(plugin).get(partition)
        if owner is None:
            raise unavailable("no worker holds this host's partition yet")
        partial = await self._ask(owner, WindowQuery(plugin, start, end, host=host))
        if partition not in partial.partitions:
            raise unavailable(
                "this host's partition is moving from one worker to another" + self._router.hint([partial])
            )
        if not partial.known:
            horizon = self._parts.settings.aggregates.window_retention_seconds
            raise Problem(404, f"host {host[:100]!r} has sent nothing for {plugin} in the last {horizon} s")
        return responses.HostResponse(
            **self._window(plugin, window, start, end),
            host=host,
            metrics={name: responses.metric(partial.metrics[name]) for name in sorted(partial.metrics)},
        )

    async def own(self, query: WindowQuery) -> PartialResult:
        """What this worker itself knows.

        Raises:
            Problem: 503, when partitions moved while it was looking.
        """
        table = self._parts.tables[query.plugin]
        generation, owned = self._parts.group.generation, table.owned()
        partial = PartialResult(sorted(owned), 0, False, {}, [])
        hostnames = sorted(table.hostnames()) if query.host is None else [query.host]
        for number, hostname in enumerate(hostnames):
            if number % _HOSTS_PER_SLICE == _HOSTS_PER_SLICE - 1:
                await asyncio.sleep(0)
            if query.limit and hostname <= query.after:
                continue
            metrics = host_window(table, hostname, query.start, query.end)
            if query.metric is not None:
                metrics = {name: metrics[name] for name in (query.metric,) if name in metrics}
            if not metrics:
                continue
            partial.hosts += 1
            if not query.limit:
                for name, statistics in metrics.items():
                    merge_into(partial.metrics, name, statistics)
            else:
                partial.lines.append((hostname, _merged_metrics(metrics)))
                if len(partial.lines) == query.limit:
                    break
        partial.known = query.host is not None and table.has(query.host)
        if table.owned() != owned or self._parts.group.generation != generation:
            raise unavailable("partitions are moving from one worker to another")
        return partial

    async def _all_workers(self, query: WindowQuery) -> list[PartialResult]:
        """The partial answers of all workers; together they cover every partition once."""
        router_ = self._router.of_plugin(query.plugin)
        partials = await asyncio.gather(*(self._ask(url, query) for url in sorted(set(router_.values()))))
        covered = sorted(partition for partial in partials for partition in partial.partitions)
        if covered != list(range(self._parts.settings.broker.partitions)):
            raise unavailable(
                "not every partition is held by a worker right now" + self._router.hint(partials)
            )
        return partials

    async def _ask(self, url: str, query: WindowQuery) -> PartialResult:
        return await (self.own(query) if self._router.is_me(url) else self._router.ask(url, query))

    def _bounds(self, window: int) -> tuple[int, int]:
        aggregates = self._parts.settings.aggregates
        if window > aggregates.window_retention_seconds:
            raise Problem(
                400,
                f"window: expected at most {aggregates.window_retention_seconds} s, found {window}; see series",
            )
        return window_bounds(from_seconds(time.time()), window, aggregates.bucket_seconds)

    def _window(self, plugin: str, window: int, start: int, end: int) -> dict[str, Any]:
        return {
            "plugin": plugin,
            "unit": self._parts.plugins[plugin].plugin.unit,
            "window_seconds": window,
            "start": rfc3339(start),
            "end": rfc3339(end),
        }


def _merged_metrics(metrics: dict[str, Statistics]) -> Statistics:
    return merged({"": statistics} for statistics in metrics.values())[""]
