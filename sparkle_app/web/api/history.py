"""Answers out of SQL: any worker gives them."""

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
    """Asks the plugins' handlers for what they stored."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts

    async def series(
        self, plugin: str, host: str, metric: str | None, start: int | None, end: int | None, step: int | None
    ) -> responses.SeriesResponse:
        """Durable aggregates of one host, merged to steps."""
        bucket_size = self._parts.settings.aggregates.bucket_seconds
        step = step or bucket_size
        if step % bucket_size:
            raise Problem(400, f"step: expected a multiple of {bucket_size} s, found {step}")
        start, end = _time_range(start, end)
        if (end - start) // span(step) > MAX_POINTS:
            raise Problem(
                400, f"step: expected at most {MAX_POINTS} points, so a longer step or a shorter time"
            )
        # Whole steps, so that each point is whole as well.
        width = span(step)
        start, end = start - start % width, -(-end // width) * width
        handler = self._parts.plugins[plugin].plugin
        rows = await self._ask(
            host,
            lambda connection: list(
                handler.load_aggregates(connection, [host], metric, bucket_size, start, end)
            ),
        )
        steps: dict[str, dict[int, Statistics]] = {}
        for row in rows:
            by_metric = steps.setdefault(row.metric, {})
            merged = {row.metric: known} if (known := by_metric.get(row.bucket_start // width)) else {}
            merge_into(merged, row.metric, row.statistics)
            by_metric[row.bucket_start // width] = merged[row.metric]
        return responses.SeriesResponse(
            **self._about(plugin, host, start, end),
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
        """Raw readings of one host; a page at a time."""
        start, end = _time_range(start, end)
        first, seen = after if after and after[0] >= start else (start, 0)
        handler = self._parts.plugins[plugin].plugin
        found = await self._ask(
            host,
            lambda connection: list(
                handler.load_readings(connection, [host], first, end, limit=seen + limit + 1)
            ),
        )
        page = found[seen : seen + limit]
        last = page[-1].observed_at if page else 0
        # Readings of one instant may lie on two pages: so many of them were seen.
        same = sum(each.observed_at == last for each in found[: seen + limit])
        return responses.ReadingsResponse(
            **self._about(plugin, host, start, end),
            readings=[responses.raw_reading(each, handler.numeric_value(each)) for each in page],
            next=f"{last}-{same}" if len(found) > seen + limit else None,
        )

    async def _ask(self, host: str, load: Callable[[Connection], list[T]]) -> list[T]:
        if "\0" in host:
            # No record with such a name is ever stored, and PostgreSQL cannot be asked for it.
            return []

        def ask() -> list[T]:
            try:
                with read_transaction(self._parts.engine) as connection:
                    return load(connection)
            except Exception as error:
                raise unavailable(str(transient_error(error))) from error

        return await asyncio.get_running_loop().run_in_executor(self._parts.readers, ask)

    def _about(self, plugin: str, host: str, start: int, end: int) -> dict[str, str]:
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
