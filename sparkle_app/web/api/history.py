"""Queries of the past, answered from SQL by any worker."""

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection

from sparkle_app.model.buckets import AggregateRow
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.retention import READINGS as STORED_READINGS
from sparkle_app.model.time import rfc3339, span
from sparkle_app.plugin.history import Columns, Position, load_columns, load_page, load_steps
from sparkle_app.storage.resolutions import Coverage, finest_resolution, sources, stored_resolutions
from sparkle_app.storage.retention import watermarks
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
    """What is asked for. The steps depend on what is stored."""

    plugin: str
    host: str
    metrics: tuple[str, ...] | None
    start: int
    end: int
    step: int | None
    points: int | None


class Steps(msgspec.Struct, frozen=True):
    """Whole steps, and what they are read from."""

    stored: Sequence[Coverage]
    start: int
    end: int
    step: int
    """In seconds."""


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
            return await self._csv(AGGREGATES_LAYOUT, (await self._load_steps(query))[1])

        return CsvFile(f"{query.plugin}-{query.host}-series.csv", await self._series_csv.run(query, compute))

    def _series_query(self, asked: SeriesParameters) -> SeriesQuery:
        if asked.points and asked.step:
            raise Problem(400, "points: expected either step or points, found both")
        start, end = self.time_range(asked.start, asked.end)
        metrics = None if asked.metrics is None else tuple(sorted(set(asked.metrics)))
        return SeriesQuery(asked.plugin, asked.host, metrics, start, end, asked.step, asked.points)

    def _steps(self, connection: Connection, query: SeriesQuery) -> Steps:
        bucket_size = self._parts.settings.aggregates.bucket_seconds
        marks = watermarks(connection, query.plugin, bucket_size)
        finest = finest_resolution(marks, query.start)
        step = query.step or finest
        if query.points:
            step = step_for(query.end - query.start, query.points, finest)
        if step % finest:
            kept = rfc3339(marks[bucket_size].kept_since)
            why = "" if finest == bucket_size else f", as aggregates of {bucket_size} s are kept since {kept}"
            raise Problem(400, f"step: expected a multiple of {finest} s{why}, found {step}")
        width = span(step)
        if (number := (query.end - query.start) // width) > MAX_POINTS:
            raise Problem(
                400,
                f"step: expected at most {MAX_POINTS} points, found {number};"
                " use a longer step or a shorter time range",
            )
        # No point covers only a part of its step.
        start, end = query.start - query.start % width, -(-query.end // width) * width
        return Steps(stored_resolutions(marks, start, end), start, end, step)

    async def _load_steps(self, query: SeriesQuery) -> tuple[Steps, list[AggregateRow]]:
        """In the order of metric and time."""
        plugin = self._parts.plugins[query.plugin].plugin

        def load(connection: Connection) -> tuple[Steps, list[AggregateRow]]:
            steps = self._steps(connection, query)
            scope = (query.host, query.metrics, steps.stored, steps.start, steps.end, steps.step)
            if _is_impossible(query.host):
                return steps, []
            rows = load_steps(plugin, connection, *scope, limit=MAX_POINTS_OF_ALL + 1)
            return steps, sorted(rows, key=lambda row: (row.metric, row.bucket_start))

        steps, rows = await from_database(self._parts, load)
        _check_points(len(rows))
        return steps, rows

    async def _merged(self, query: SeriesQuery) -> responses.SeriesResponse:
        steps, rows = await self._load_steps(query)
        series: dict[str, list[responses.Point]] = {}
        async with self._parts.slices.computation() as computation:
            for row in rows:
                series.setdefault(row.metric, []).append(responses.point(row.bucket_start, row.statistics))
                await computation.pause()
        return responses.SeriesResponse(
            **self._header(query.plugin, query.host, steps.start, steps.end),
            step_seconds=steps.step,
            series=series,
        )

    async def _in_columns(self, query: SeriesQuery) -> responses.ColumnsResponse:
        plugin = self._parts.plugins[query.plugin].plugin

        def load(connection: Connection) -> tuple[Steps, dict[str, Columns]]:
            steps = self._steps(connection, query)
            scope = (query.host, query.metrics, steps.stored, steps.start, steps.end, steps.step)
            if _is_impossible(query.host):
                return steps, {}
            return steps, load_columns(plugin, connection, *scope, limit=MAX_POINTS_OF_ALL + 1)

        steps, series = await from_database(self._parts, load)
        _check_points(sum(len(each.at) for each in series.values()))
        used = sources(steps.stored, steps.start, steps.end, steps.step)
        return responses.ColumnsResponse(
            **self._header(query.plugin, query.host, steps.start, steps.end),
            step_seconds=steps.step,
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
        metric: Collection[str] | None,
    ) -> responses.ReadingsResponse:
        """One page of the readings of one host.

        Arguments:
            after: event time and id of the previous page's last reading.

        Raises:
            Problem: as :meth:`series`.
        """
        start, end = self.time_range(start, end)
        page, following, kept_since = await self._load_page(plugin, host, start, end, limit, after, metric)
        numeric_value = self._parts.plugins[plugin].plugin.numeric_value
        return responses.ReadingsResponse(
            **self._header(plugin, host, start, end),
            kept_since=responses.kept_since(kept_since, start),
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
        metric: Collection[str] | None,
    ) -> CsvFile:
        """The same as CSV, in the columns of an export of readings.

        Raises:
            Problem: as :meth:`series`.
        """
        start, end = self.time_range(start, end)
        page, following, _ = await self._load_page(plugin, host, start, end, limit, after, metric)
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
        metric: Collection[str] | None,
    ) -> tuple[list[StoredReading], str | None, int]:
        """The readings of a page, the cursor of the next one, and since when readings are kept."""
        server_half = self._parts.plugins[plugin].plugin
        bucket_size = self._parts.settings.aggregates.bucket_seconds
        if _is_impossible(host):
            return [], None, 0

        def load(connection: Connection) -> tuple[list[StoredReading], int]:
            kept_since = watermarks(connection, plugin, bucket_size)[STORED_READINGS].kept_since
            page = load_page(server_half, connection, host, start, end, limit + 1, after, metric)
            return list(page), kept_since

        found, kept_since = await from_database(self._parts, load)
        page = found[:limit]
        following = cursor_of(page[-1].observed_at, page[-1].id) if len(found) > limit else None
        return page, following, kept_since

    async def _csv(self, layout: Layout, items: Sequence[Any]) -> bytes:
        pieces = [csv_files.header(layout)]
        async with self._parts.slices.computation() as computation:
            for some in chunks(items, _CSV_ROWS):
                pieces.append(csv_files.encode(layout, map(layout.row_of, some)))
                await computation.pause()
        return b"".join(pieces)

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


def _is_impossible(host: str) -> bool:
    """Records with such a hostname are rejected, and PostgreSQL does not accept NUL in a parameter."""
    return "\0" in host


def _check_points(number: int) -> None:
    if number > MAX_POINTS_OF_ALL:
        raise Problem(
            400,
            f"step: expected at most {MAX_POINTS_OF_ALL} points of all metrics, found more;"
            " use a longer step, a shorter time range, or metric",
        )
