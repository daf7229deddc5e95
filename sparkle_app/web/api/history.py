"""Queries of the past, answered from SQL by any worker."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection

from sparkle_app.model.buckets import AggregateRow
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.time import rfc3339, span
from sparkle_app.plugin.history import Position, load_columns, load_page, load_steps
from sparkle_app.storage.resolutions import Coverage, sources, stored_resolutions
from sparkle_app.storage.statements import chunks
from sparkle_app.transfer import csv_files
from sparkle_app.transfer.layouts import AGGREGATES_LAYOUT, READINGS, Layout, layouts
from sparkle_app.web.api import responses
from sparkle_app.web.api.parameters import cursor_of
from sparkle_app.web.api.steps import step_for
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, current_time
from sparkle_app.web.queries import from_database
from sparkle_app.web.single_flight import SingleFlight

MAX_POINTS = 10_000
"""Of one metric in a response."""
MAX_POINTS_OF_ALL = 50_000
"""Of all metrics together."""
HOUR = span(3600)
_CSV_ROWS = 100
"""Encoded at once: about a millisecond."""
T = TypeVar("T")


class SeriesQuery(msgspec.Struct, frozen=True):
    """A query of :func:`load_steps`."""

    plugin: str
    host: str
    metrics: tuple[str, ...] | None
    stored: tuple[Coverage, ...]
    start: int
    end: int
    step: int


class SeriesParameters(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a request for a series; None: the default."""

    plugin: str
    host: str
    metrics: Sequence[str] | None
    start: int | None
    end: int | None
    step: int | None
    points: int | None = None
    """About so many points instead of a step."""


class CsvFile(msgspec.Struct, frozen=True):
    """A response as CSV."""

    name: str
    """For those who save it; may contain any character."""
    body: bytes
    next_page: dict[str, str] | None = None
    """The parameters of the next page, if there is one."""


class HistoryQueries:
    """Queries stored aggregates and stored readings. Equal queries of aggregates at one time are executed once."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._series: SingleFlight[responses.SeriesResponse] = SingleFlight()
        self._columns: SingleFlight[responses.ColumnsResponse] = SingleFlight()
        self._series_csv: SingleFlight[bytes] = SingleFlight()

    async def series(self, asked: SeriesParameters) -> responses.SeriesResponse:
        """Aggregates of one host, merged into steps.

        Raises:
            Problem: 400, when a parameter is invalid; 503, when the database does not work at this moment.
        """
        query = self._series_query(asked)
        return await self._series.run(query, lambda: self._merged(query))

    async def columns(self, asked: SeriesParameters) -> responses.ColumnsResponse:
        """The same in columns, for charts.

        Raises:
            Problem: as :meth:`series`.
        """
        query = self._series_query(asked)
        return await self._columns.run(query, lambda: self._in_columns(query))

    async def series_csv(self, asked: SeriesParameters) -> CsvFile:
        """The same as CSV, in the columns of an export of aggregates.

        Raises:
            Problem: as :meth:`series`.
        """
        query = self._series_query(asked)

        async def compute() -> bytes:
            return await self._csv(AGGREGATES_LAYOUT, await self._load_steps(query))

        return CsvFile(f"{query.plugin}-{query.host}-series.csv", await self._series_csv.run(query, compute))

    def _series_query(self, asked: SeriesParameters) -> SeriesQuery:
        bucket_size = self._parts.settings.aggregates.bucket_seconds
        start, end = self.time_range(asked.start, asked.end)
        step = asked.step or bucket_size
        if asked.points:
            if asked.step:
                raise Problem(400, "points: expected either step or points, found both")
            step = step_for(end - start, asked.points, bucket_size)
        if step % bucket_size:
            raise Problem(400, f"step: expected a multiple of {bucket_size} s, found {step}")
        if (end - start) // span(step) > MAX_POINTS:
            raise Problem(
                400,
                f"step: expected at most {MAX_POINTS} points, found {(end - start) // span(step)};"
                " use a longer step or a shorter time range",
            )
        # Whole steps, so that no point covers only a part of its step.
        width = span(step)
        start, end = start - start % width, -(-end // width) * width
        stored = tuple(stored_resolutions(bucket_size, start, end))
        metrics = None if asked.metrics is None else tuple(sorted(set(asked.metrics)))
        return SeriesQuery(asked.plugin, asked.host, metrics, stored, start, end, step)

    async def _load_steps(self, query: SeriesQuery) -> list[AggregateRow]:
        """In the order of metric and time."""
        rows = await self._query(
            query.host,
            lambda connection: sorted(
                load_steps(
                    self._parts.plugins[query.plugin].plugin,
                    connection,
                    query.host,
                    query.metrics,
                    query.stored,
                    query.start,
                    query.end,
                    query.step,
                    limit=MAX_POINTS_OF_ALL + 1,
                ),
                key=lambda row: (row.metric, row.bucket_start),
            ),
        )
        _check_points(len(rows))
        return rows

    async def _merged(self, query: SeriesQuery) -> responses.SeriesResponse:
        rows = await self._load_steps(query)
        series: dict[str, list[responses.Point]] = {}
        async with self._parts.slices.computation() as computation:
            for row in rows:
                series.setdefault(row.metric, []).append(responses.point(row.bucket_start, row.statistics))
                await computation.pause()
        return responses.SeriesResponse(
            **self._header(query.plugin, query.host, query.start, query.end),
            step_seconds=query.step,
            series=series,
        )

    async def _in_columns(self, query: SeriesQuery) -> responses.ColumnsResponse:
        plugin = self._parts.plugins[query.plugin].plugin
        found = await self._query(
            query.host,
            lambda connection: list(
                load_columns(
                    plugin,
                    connection,
                    query.host,
                    query.metrics,
                    query.stored,
                    query.start,
                    query.end,
                    query.step,
                    limit=MAX_POINTS_OF_ALL + 1,
                ).items()
            ),
        )
        series = dict(found)
        _check_points(sum(len(each.at) for each in series.values()))
        used = sources(query.stored, query.start, query.end, query.step)
        return responses.ColumnsResponse(
            **self._header(query.plugin, query.host, query.start, query.end),
            step_seconds=query.step,
            sources=[
                responses.Source(
                    resolution_seconds=each.resolution, start=rfc3339(each.start), end=rfc3339(each.end)
                )
                for each in used
            ],
            series=series,
        )

    async def readings(
        self,
        plugin: str,
        host: str,
        start: int | None,
        end: int | None,
        limit: int,
        after: Position | None,
        metric: str | None,
    ) -> responses.ReadingsResponse:
        """One page of the readings of one host.

        Arguments:
            after: event time and id of the previous page's last reading.

        Raises:
            Problem: as :meth:`series`.
        """
        start, end = self.time_range(start, end)
        page, following = await self._load_page(plugin, host, start, end, limit, after, metric)
        numeric_value = self._parts.plugins[plugin].plugin.numeric_value
        return responses.ReadingsResponse(
            **self._header(plugin, host, start, end),
            readings=[responses.reading(each, numeric_value(each)) for each in page],
            next=following,
        )

    async def readings_csv(
        self,
        plugin: str,
        host: str,
        start: int | None,
        end: int | None,
        limit: int,
        after: Position | None,
        metric: str | None,
    ) -> CsvFile:
        """The same as CSV, in the columns of an export of readings.

        Raises:
            Problem: as :meth:`series`.
        """
        start, end = self.time_range(start, end)
        page, following = await self._load_page(plugin, host, start, end, limit, after, metric)
        layout = layouts(plugin, self._parts.plugins[plugin].plugin)[READINGS]
        # The time range of the next page is that of this one, also if the present was its end.
        next_page = {"from": rfc3339(start), "to": rfc3339(end), "after": following} if following else None
        return CsvFile(f"{plugin}-{host}-readings.csv", await self._csv(layout, page), next_page)

    async def _load_page(
        self,
        plugin: str,
        host: str,
        start: int,
        end: int,
        limit: int,
        after: Position | None,
        metric: str | None,
    ) -> tuple[list[StoredReading], str | None]:
        """The readings of a page, and the cursor of the next one."""
        server_half = self._parts.plugins[plugin].plugin
        found = await self._query(
            host,
            lambda connection: list(
                load_page(server_half, connection, host, start, end, limit + 1, after, metric)
            ),
        )
        page = found[:limit]
        return page, cursor_of(page[-1].observed_at, page[-1].id) if len(found) > limit else None

    async def _csv(self, layout: Layout, items: Sequence[Any]) -> bytes:
        pieces = [csv_files.header(layout)]
        async with self._parts.slices.computation() as computation:
            for some in chunks(items, _CSV_ROWS):
                pieces.append(csv_files.encode(layout, map(layout.row_of, some)))
                await computation.pause()
        return b"".join(pieces)

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

    def time_range(self, start: int | None, end: int | None) -> tuple[int, int]:
        """The time range of a request; by default, the last hour.

        Raises:
            Problem: 400, when it ends before it begins; 503, while the time is not known.
        """
        end = current_time(self._parts.clock) if end is None else end
        start = end - HOUR if start is None else start
        if start >= end:
            raise Problem(400, f"from: expected a time before {rfc3339(end)}, found {rfc3339(start)}")
        return start, end


def _check_points(number: int) -> None:
    if number > MAX_POINTS_OF_ALL:
        raise Problem(
            400,
            f"step: expected at most {MAX_POINTS_OF_ALL} points of all metrics, found more;"
            " use a longer step, a shorter time range, or metric",
        )
