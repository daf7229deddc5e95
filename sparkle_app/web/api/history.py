"""Queries of the past, answered from SQL by any worker."""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from sparkle_app.model.time import rfc3339, span
from sparkle_app.plugin.history import Position, load_page, load_steps
from sparkle_app.web.api import responses
from sparkle_app.web.api.parameters import cursor_of
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, current_time
from sparkle_app.web.queries import from_database
from sparkle_app.web.single_flight import SingleFlight

MAX_POINTS = 10_000
"""Of one metric in a response."""
MAX_POINTS_OF_ALL = 50_000
"""Of all metrics together."""
HOUR = span(3600)
T = TypeVar("T")


class SeriesQuery(msgspec.Struct, frozen=True):
    """A query of :func:`load_steps`."""

    plugin: str
    host: str
    metric: str | None
    bucket_size: int
    start: int
    end: int
    step: int


class HistoryQueries:
    """Queries stored aggregates and stored readings. Equal queries of aggregates at one time are executed once."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._series: SingleFlight[responses.SeriesResponse] = SingleFlight()

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
        start, end = self._time_range(start, end)
        if (end - start) // span(step) > MAX_POINTS:
            raise Problem(
                400,
                f"step: expected at most {MAX_POINTS} points, found {(end - start) // span(step)};"
                " use a longer step or a shorter time range",
            )
        # Whole steps, so that no point covers only a part of its step.
        width = span(step)
        start, end = start - start % width, -(-end // width) * width
        query = SeriesQuery(plugin, host, metric, bucket_size, start, end, step)
        return await self._series.run(query, lambda: self._merged(query))

    async def _merged(self, query: SeriesQuery) -> responses.SeriesResponse:
        rows = await self._query(
            query.host,
            lambda connection: list(
                load_steps(
                    self._parts.plugins[query.plugin].plugin,
                    connection,
                    query.host,
                    query.metric,
                    query.bucket_size,
                    query.start,
                    query.end,
                    query.step,
                    limit=MAX_POINTS_OF_ALL + 1,
                )
            ),
        )
        if len(rows) > MAX_POINTS_OF_ALL:
            raise Problem(
                400,
                f"step: expected at most {MAX_POINTS_OF_ALL} points of all metrics, found more;"
                " use a longer step, a shorter time range, or metric",
            )
        series: dict[str, list[responses.Point]] = {}
        async with self._parts.slices.computation() as computation:
            for row in rows:
                series.setdefault(row.metric, []).append(responses.point(row.bucket_start, row.statistics))
                await computation.pause()
        return responses.SeriesResponse(
            **self._header(query.plugin, query.host, query.start, query.end),
            step_seconds=query.step,
            series=dict(sorted(series.items())),
        )

    async def readings(
        self,
        plugin: str,
        host: str,
        start: int | None,
        end: int | None,
        limit: int,
        after: Position | None,
    ) -> responses.ReadingsResponse:
        """One page of the readings of one host.

        Arguments:
            after: event time and id of the previous page's last reading.

        Raises:
            Problem: as :meth:`series`.
        """
        start, end = self._time_range(start, end)
        server_half = self._parts.plugins[plugin].plugin
        found = await self._query(
            host,
            lambda connection: list(load_page(server_half, connection, host, start, end, limit + 1, after)),
        )
        page = found[:limit]
        return responses.ReadingsResponse(
            **self._header(plugin, host, start, end),
            readings=[responses.reading(each, server_half.numeric_value(each)) for each in page],
            next=cursor_of(page[-1].observed_at, page[-1].id) if len(found) > limit else None,
        )

    async def _query(self, host: str, load: Callable[[Connection], list[T]]) -> list[T]:
        if "\0" in host:
            # Records with such a hostname are rejected, and PostgreSQL does not accept NUL in a parameter.
            return []
        return await from_database(self._parts, load)

    def _header(self, plugin: str, host: str, start: int, end: int) -> dict[str, str]:
        return {
            "plugin": plugin,
            "host": host,
            "unit": self._parts.plugins[plugin].plugin.unit,
            "start": rfc3339(start),
            "end": rfc3339(end),
        }

    def _time_range(self, start: int | None, end: int | None) -> tuple[int, int]:
        end = current_time(self._parts.clock) if end is None else end
        start = end - HOUR if start is None else start
        if start >= end:
            raise Problem(400, f"from: expected a time before {rfc3339(end)}, found {rfc3339(start)}")
        return start, end
