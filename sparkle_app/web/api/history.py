"""Queries of the past, answered from SQL by any worker."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from sparkle_app.model.buckets import Statistics, merge_into
from sparkle_app.model.time import from_seconds, rfc3339, span
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.errors import transient_error
from sparkle_app.web.api import responses
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, unavailable

MAX_POINTS = 10_000
HOUR = span(3600)
T = TypeVar("T")


class HistoryQueries:
    """Queries stored aggregates and stored readings."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts

    async def series(
        self, plugin: str, host: str, metric: str | None, start: int | None, end: int | None, step: int | None
    ) -> responses.SeriesResponse:
        """Aggregates of one host, merged into steps.

        Raises:
            Problem: 400, when a parameter is invalid; 503, when the database does not work at this moment.
        """
        bucket_size = self._parts.settings.aggregates.bucket_seconds
        step = step or bucket_size
        if step % bucket_size:
            raise Problem(400, f"step: expected a multiple of {bucket_size} s, found {step}")
        start, end = _time_range(start, end)
        if (end - start) // span(step) > MAX_POINTS:
            raise Problem(
                400,
                f"step: expected at most {MAX_POINTS} points, found {(end - start) // span(step)};"
                " use a longer step or a shorter time range",
            )
        # Whole steps, so that no point covers only a part of its step.
        width = span(step)
        start, end = start - start % width, -(-end // width) * width
        server_half = self._parts.plugins[plugin].plugin
        rows = await self._query(
            host,
            lambda connection: list(
                server_half.load_aggregates(connection, [host], metric, bucket_size, start, end)
            ),
        )
        steps: dict[str, dict[int, Statistics]] = {}
        for row in rows:
            by_metric = steps.setdefault(row.metric, {})
            merged = {row.metric: known} if (known := by_metric.get(row.bucket_start // width)) else {}
            merge_into(merged, row.metric, row.statistics)
            by_metric[row.bucket_start // width] = merged[row.metric]
        return responses.SeriesResponse(
            **self._header(plugin, host, start, end),
            step_seconds=step,
            series={
                name: [responses.point(at * width, statistics) for at, statistics in sorted(points.items())]
                for name, points in sorted(steps.items())
            },
        )

    async def readings(
        self,
        plugin: str,
        host: str,
        start: int | None,
        end: int | None,
        limit: int,
        after: tuple[int, int] | None,
    ) -> responses.ReadingsResponse:
        """One page of the readings of one host.

        Arguments:
            after: event time of the previous page's last reading, and how many readings of that time were returned.

        Raises:
            Problem: as :meth:`series`.
        """
        start, end = _time_range(start, end)
        first, seen = after if after and after[0] >= start else (start, 0)
        server_half = self._parts.plugins[plugin].plugin
        found = await self._query(
            host,
            lambda connection: list(
                server_half.load_readings(connection, [host], first, end, limit=seen + limit + 1)
            ),
        )
        page = found[seen : seen + limit]
        last = page[-1].observed_at if page else 0
        # Readings with the same event time may be on two pages: the cursor counts those that were returned.
        same = sum(each.observed_at == last for each in found[: seen + limit])
        return responses.ReadingsResponse(
            **self._header(plugin, host, start, end),
            readings=[responses.reading(each, server_half.numeric_value(each)) for each in page],
            next=f"{last}-{same}" if len(found) > seen + limit else None,
        )

    async def _query(self, host: str, load: Callable[[Connection], list[T]]) -> list[T]:
        if "\0" in host:
            # Records with such a hostname are rejected, and PostgreSQL does not accept NUL in a parameter.
            return []

        def query() -> list[T]:
            try:
                with read_transaction(self._parts.engine) as connection:
                    return load(connection)
            except Exception as error:
                raise unavailable(str(transient_error(error))) from error

        return await asyncio.get_running_loop().run_in_executor(self._parts.readers, query)

    def _header(self, plugin: str, host: str, start: int, end: int) -> dict[str, str]:
        return {
            "plugin": plugin,
            "host": host,
            "unit": self._parts.plugins[plugin].plugin.unit,
            "start": rfc3339(start),
            "end": rfc3339(end),
        }


def _time_range(start: int | None, end: int | None) -> tuple[int, int]:
    end = from_seconds(time.time()) if end is None else end
    start = end - HOUR if start is None else start
    if start >= end:
        raise Problem(400, f"from: expected a time before {rfc3339(end)}, found {rfc3339(start)}")
    return start, end
