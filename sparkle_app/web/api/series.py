"""Aggregates of one host over time, from SQL."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from sparkle_app.model.buckets import AggregateRow
from sparkle_app.model.retention import READINGS
from sparkle_app.model.time import rfc3339, span
from sparkle_app.plugin.history import Columns, LateSteps, load_columns, load_late, load_steps
from sparkle_app.storage.resolutions import Coverage, finest_resolution, sources, stored_resolutions
from sparkle_app.storage.retention import watermarks
from sparkle_app.transfer.layouts import AGGREGATES_LAYOUT
from sparkle_app.web.api.history import (
    FROM,
    METRICS,
    TO,
    csv_body,
    header,
    is_impossible,
    time_range,
)
from sparkle_app.web.api.parameters import choice, duration, integer
from sparkle_app.web.api.route import HOST_PATH, CsvFile, Route
from sparkle_app.web.api.series_responses import ColumnsResponse, Point, SeriesResponse, Source, point
from sparkle_app.web.api.steps import step_for
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem
from sparkle_app.web.queries import from_database
from sparkle_app.web.single_flight import SingleFlight

MAX_POINTS = 10_000
"""Of one metric in a response."""
MAX_POINTS_OF_ALL = 50_000
"""Of all metrics together."""
MAX_LATE_READINGS = 100_000
"""Of a time range in which late ones are looked for: a fraction of a second."""
_STEP = duration(
    "step",
    "Length of a step: a multiple of the bucket size. Default: one bucket. At most 10000 steps, and 50000 points of"
    " all metrics together.",
)
_POINTS = integer(
    "points",
    "Instead of `step`: approximate maximum number of steps. The step is rounded up to a common duration, such as 5m,"
    " 1h or 1d.",
    MAX_POINTS,
)


_LATE = choice(
    "late",
    "`true`: also look for steps with readings that were received more than a minute after they were measured, and"
    " after the step was over. `late` is null otherwise, if there are no aggregates, and if the range has too many"
    f" readings (more than {MAX_LATE_READINGS}).",
    ["true"],
)


class SeriesQuery(msgspec.Struct, frozen=True):
    """What is asked for. The steps depend on what is stored."""

    plugin: str
    host: str
    metrics: tuple[str, ...] | None
    start: int
    end: int
    step: int | None
    points: int | None
    late: bool


class Steps(msgspec.Struct, frozen=True):
    """Whole steps, and what they are read from."""

    stored: Sequence[Coverage]
    start: int
    end: int
    step: int
    """In seconds."""
    readings_kept_since: int


class SeriesQueries:
    """Queries stored aggregates. Equal queries at one time are executed once."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._series: SingleFlight[SeriesResponse] = SingleFlight()
        self._columns: SingleFlight[ColumnsResponse] = SingleFlight()
        self._series_csv: SingleFlight[bytes] = SingleFlight()

    def series_route(self) -> Route:
        """Aggregates, merged into steps."""
        return Route(
            f"{HOST_PATH}/series",
            "Aggregates of one host, from SQL",
            SeriesResponse,
            self.series,
            (METRICS, FROM, TO, _STEP),
            csv=self.series_csv,
        )

    def columns_route(self) -> Route:
        """The same in columns."""
        return Route(
            f"{HOST_PATH}/columns",
            "Aggregates of one host in columns, for charts, from SQL",
            ColumnsResponse,
            self.columns,
            (METRICS, FROM, TO, _STEP, _POINTS, _LATE),
        )

    async def series(self, plugin: str, host: str, **asked: Any) -> SeriesResponse:
        """Aggregates of one host, merged into steps.

        Raises:
            Problem: 400, when a parameter is invalid; 503, when the database does not work at this moment.
        """
        query = self._query(plugin, host, **asked)
        return await self._series.run(query, lambda: self._merged(query))

    async def columns(self, plugin: str, host: str, **asked: Any) -> ColumnsResponse:
        """The same in columns, for charts.

        Raises:
            Problem: as :meth:`series`.
        """
        query = self._query(plugin, host, **asked)
        return await self._columns.run(query, lambda: self._in_columns(query))

    async def series_csv(self, plugin: str, host: str, **asked: Any) -> CsvFile:
        """The same as CSV, in the columns of an export of aggregates.

        Raises:
            Problem: as :meth:`series`.
        """
        query = self._query(plugin, host, **asked)

        async def compute() -> bytes:
            return await csv_body(self._parts.slices, AGGREGATES_LAYOUT, (await self._load_steps(query))[1])

        return CsvFile(f"{query.plugin}-{query.host}-series.csv", await self._series_csv.run(query, compute))

    def _query(
        self,
        plugin: str,
        host: str,
        metric: Sequence[str] | None,
        step: int | None,
        points: int | None = None,
        late: str | None = None,
        **limits: int | None,
    ) -> SeriesQuery:
        if points and step:
            raise Problem(400, "points: expected either step or points, found both")
        start, end = time_range(self._parts.clock, limits["from"], limits["to"])
        metrics = None if metric is None else tuple(sorted(set(metric)))
        return SeriesQuery(plugin, host, metrics, start, end, step, points, late == "true")

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
                limit="points",
            )
        # No point covers only a part of its step.
        start, end = query.start - query.start % width, -(-query.end // width) * width
        return Steps(stored_resolutions(marks, start, end), start, end, step, marks[READINGS].kept_since)

    async def _load_steps(self, query: SeriesQuery) -> tuple[Steps, list[AggregateRow]]:
        """In the order of metric and time."""
        plugin = self._parts.plugins[query.plugin].plugin

        def load(connection: Connection) -> tuple[Steps, list[AggregateRow]]:
            steps = self._steps(connection, query)
            scope = (query.host, query.metrics, steps.stored, steps.start, steps.end, steps.step)
            if is_impossible(query.host):
                return steps, []
            rows = load_steps(plugin, connection, *scope, limit=MAX_POINTS_OF_ALL + 1)
            return steps, sorted(rows, key=lambda row: (row.metric, row.bucket_start))

        steps, rows = await from_database(self._parts, load)
        _check_points(len(rows))
        return steps, rows

    async def _merged(self, query: SeriesQuery) -> SeriesResponse:
        steps, rows = await self._load_steps(query)
        series: dict[str, list[Point]] = {}
        async with self._parts.slices.computation() as computation:
            for row in rows:
                series.setdefault(row.metric, []).append(point(row.bucket_start, row.statistics))
                await computation.pause()
        return SeriesResponse(
            **header(self._parts, query.plugin, query.host, steps.start, steps.end),
            step_seconds=steps.step,
            series=series,
        )

    async def _in_columns(self, query: SeriesQuery) -> ColumnsResponse:
        plugin = self._parts.plugins[query.plugin].plugin

        def load(connection: Connection) -> tuple[Steps, dict[str, Columns], dict[str, LateSteps] | None]:
            steps = self._steps(connection, query)
            scope = (query.host, query.metrics, steps.stored, steps.start, steps.end, steps.step)
            if is_impossible(query.host):
                return steps, {}, None
            found = load_columns(plugin, connection, *scope, limit=MAX_POINTS_OF_ALL + 1)
            _check_points(sum(len(each.at) for each in found.values()))
            late = None
            start = max(steps.start, steps.readings_kept_since)
            # Aggregates may count fewer readings than are stored, or be missing: the query itself is bounded, too.
            if query.late and found and _count(found, start, steps.step) <= MAX_LATE_READINGS:
                bounds = (start, steps.end, steps.step, MAX_LATE_READINGS)
                late = load_late(plugin, connection, query.host, query.metrics, *bounds)
            return steps, found, late

        steps, series, late = await from_database(self._parts, load)
        used = sources(steps.stored, steps.start, steps.end, steps.step)
        return ColumnsResponse(
            **header(self._parts, query.plugin, query.host, steps.start, steps.end),
            step_seconds=steps.step,
            sources=[
                Source(resolution_seconds=each.resolution, start=rfc3339(each.start), end=rfc3339(each.end))
                for each in used
            ],
            series=series,
            late=late,
        )


def _count(series: Mapping[str, Columns], start: int, step: int) -> int:
    """The number of readings in steps that end after ``start``."""
    first = start // span(1)
    return sum(
        count
        for each in series.values()
        for at, count in zip(each.at, each.count, strict=True)
        if at + step > first
    )


def _check_points(number: int) -> None:
    if number > MAX_POINTS_OF_ALL:
        raise Problem(
            400,
            f"step: expected at most {MAX_POINTS_OF_ALL} points of all metrics, found more;"
            " use a longer step, a shorter time range, or metric",
            limit="points",
        )
