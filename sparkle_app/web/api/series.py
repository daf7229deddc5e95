"""Aggregates of one host over time, from SQL."""

from typing import Any

from sqlalchemy import Connection

from sparkle_app.model.buckets import AggregateRow
from sparkle_app.plugin.history import load_steps
from sparkle_app.transfer.layouts import AGGREGATES_LAYOUT
from sparkle_app.web.api.history import FROM, METRICS, TO, csv_body, header, is_impossible
from sparkle_app.web.api.route import HOST_PATH, CsvFile, Route
from sparkle_app.web.api.series_query import (
    MAX_POINTS_OF_ALL,
    STEP,
    SeriesQuery,
    Steps,
    check_points,
    series_query,
    steps_of,
)
from sparkle_app.web.api.series_responses import Point, SeriesResponse, point
from sparkle_app.web.parts import WebParts
from sparkle_app.web.queries import from_database
from sparkle_app.web.single_flight import SingleFlight


class SeriesQueries:
    """Queries stored aggregates. Equal queries at one time are executed once."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._series: SingleFlight[SeriesResponse] = SingleFlight()
        self._series_csv: SingleFlight[bytes] = SingleFlight()

    def route(self) -> Route:
        """Aggregates, merged into steps."""
        return Route(
            f"{HOST_PATH}/series",
            "Aggregates of one host, from SQL",
            SeriesResponse,
            self.series,
            (METRICS, FROM, TO, STEP),
            csv=self.series_csv,
        )

    async def series(self, plugin: str, host: str, **asked: Any) -> SeriesResponse:
        """Aggregates of one host, merged into steps.

        Raises:
            Problem: 400, when a parameter is invalid; 503, when the database does not work at this moment.
        """
        query = series_query(self._parts, plugin, host, **asked)
        return await self._series.run(query, lambda: self._merged(query))

    async def series_csv(self, plugin: str, host: str, **asked: Any) -> CsvFile:
        """The same as CSV, in the columns of an export of aggregates.

        Raises:
            Problem: as :meth:`series`.
        """
        query = series_query(self._parts, plugin, host, **asked)

        async def compute() -> bytes:
            return await csv_body(self._parts.slices, AGGREGATES_LAYOUT, (await self._load_steps(query))[1])

        return CsvFile(f"{query.plugin}-{query.host}-series.csv", await self._series_csv.run(query, compute))

    async def _load_steps(self, query: SeriesQuery) -> tuple[Steps, list[AggregateRow]]:
        """In the order of metric and time."""
        plugin = self._parts.plugins[query.plugin].plugin

        def load(connection: Connection) -> tuple[Steps, list[AggregateRow]]:
            steps = steps_of(self._parts, connection, query)
            scope = (query.host, query.metrics, steps.stored, steps.start, steps.end, steps.step)
            if is_impossible(query.host):
                return steps, []
            rows = load_steps(plugin, connection, *scope, limit=MAX_POINTS_OF_ALL + 1)
            return steps, sorted(rows, key=lambda row: (row.metric, row.bucket_start))

        steps, rows = await from_database(self._parts, load)
        check_points(len(rows))
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
