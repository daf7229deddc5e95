"""What a query of a host's aggregates over time asks for, and the steps that it gets."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from sparkle_app.model.retention import READINGS
from sparkle_app.model.time import rfc3339, span
from sparkle_app.storage.resolutions import Coverage, finest_resolution, stored_resolutions
from sparkle_app.storage.retention import watermarks
from sparkle_app.web.api.history import time_range
from sparkle_app.web.api.parameters import duration
from sparkle_app.web.api.steps import step_for
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem

MAX_POINTS = 10_000
"""Of one metric in a response."""
MAX_POINTS_OF_ALL = 50_000
"""Of all metrics together."""
STEP = duration(
    "step",
    "Length of a step: a multiple of the bucket size. Default: one bucket. At most 10000 steps, and 50000 points of"
    " all metrics together.",
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


def series_query(
    parts: WebParts,
    plugin: str,
    host: str,
    metric: Sequence[str] | None,
    step: int | None,
    points: int | None = None,
    late: str | None = None,
    **limits: int | None,
) -> SeriesQuery:
    """What the parameters of a request ask for.

    Raises:
        Problem: 400, when they contradict each other.
    """
    if points and step:
        raise Problem(400, "points: expected either step or points, found both")
    start, end = time_range(parts.clock, limits["from"], limits["to"])
    metrics = None if metric is None else tuple(sorted(set(metric)))
    return SeriesQuery(plugin, host, metrics, start, end, step, points, late == "true")


def steps_of(parts: WebParts, connection: Connection, query: SeriesQuery) -> Steps:
    """The steps of a query, as far as aggregates of them are stored.

    Raises:
        Problem: 400, when there are none of this length, or too many.
    """
    bucket_size = parts.settings.aggregates.bucket_seconds
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


def check_points(number: int) -> None:
    """Check the number of points of all metrics.

    Raises:
        Problem: 400, when there are too many.
    """
    if number > MAX_POINTS_OF_ALL:
        raise Problem(
            400,
            f"step: expected at most {MAX_POINTS_OF_ALL} points of all metrics, found more;"
            " use a longer step, a shorter time range, or metric",
            limit="points",
        )
