"""Aggregates of one host over time in columns, for charts, from SQL."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from sparkle_app.model.time import rfc3339, span
from sparkle_app.plugin.history import Columns, LateSteps, load_columns, load_late
from sparkle_app.storage.resolutions import sources
from sparkle_app.web.api.history import FROM, METRICS, TO, header, is_impossible
from sparkle_app.web.api.parameters import choice, integer
from sparkle_app.web.api.route import HOST_PATH, Route
from sparkle_app.web.api.series_query import (
    MAX_POINTS,
    MAX_POINTS_OF_ALL,
    STEP,
    SeriesQuery,
    Steps,
    check_points,
    series_query,
    steps_of,
)
from sparkle_app.web.api.series_responses import ColumnsResponse, Source
from sparkle_app.web.parts import WebParts
from sparkle_app.web.queries import from_database
from sparkle_app.web.single_flight import SingleFlight

MAX_LATE_READINGS = 100_000
"""Of a time range in which late ones are looked for: a fraction of a second."""
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


class ColumnsQueries:
    """Queries stored aggregates. Equal queries at one time are executed once."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._columns: SingleFlight[ColumnsResponse] = SingleFlight()

    def route(self) -> Route:
        """Aggregates in columns."""
        return Route(
            f"{HOST_PATH}/columns",
            "Aggregates of one host in columns, for charts, from SQL",
            ColumnsResponse,
            self.columns,
            (METRICS, FROM, TO, STEP, _POINTS, _LATE),
        )

    async def columns(self, plugin: str, host: str, **asked: Any) -> ColumnsResponse:
        """Aggregates of one host, merged into steps.

        Raises:
            Problem: 400, when a parameter is invalid; 503, when the database does not work at this moment.
        """
        query = series_query(self._parts, plugin, host, **asked)
        return await self._columns.run(query, lambda: self._in_columns(query))

    async def _in_columns(self, query: SeriesQuery) -> ColumnsResponse:
        plugin = self._parts.plugins[query.plugin].plugin

        def load(connection: Connection) -> tuple[Steps, dict[str, Columns], dict[str, LateSteps] | None]:
            steps = steps_of(self._parts, connection, query)
            scope = (query.host, query.metrics, steps.stored, steps.start, steps.end, steps.step)
            if is_impossible(query.host):
                return steps, {}, None
            found = load_columns(plugin, connection, *scope, limit=MAX_POINTS_OF_ALL + 1)
            check_points(sum(len(each.at) for each in found.values()))
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
