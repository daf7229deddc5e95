"""The aggregates of one host, compared with its stored readings."""

from functools import partial
from itertools import islice

import msgspec

from sparkle_app.audit.auditor import Auditor
from sparkle_app.audit.differences import Difference
from sparkle_app.model.buckets import Statistics
from sparkle_app.model.retention import READINGS
from sparkle_app.model.time import rfc3339, span
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.retention import watermarks
from sparkle_app.web.api.history import FROM, TO, KeptRange, header, is_impossible, kept_since, time_range
from sparkle_app.web.api.responses import MetricStatistics, Time, metric
from sparkle_app.web.api.route import HOST_PATH, Route
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem
from sparkle_app.web.queries import database_problems
from sparkle_app.web.single_flight import SingleFlight
from sparkle_app.web.thread_limit import ThreadLimit

MAX_READINGS = 200_000
"""Recounted for one request: some seconds."""
MAX_RECOUNTS = 20
"""In progress or waiting."""
MAX_LISTED = 100


class DifferenceInfo(msgspec.Struct, kw_only=True):
    """An aggregate that is not what its readings give."""

    metric: str
    resolution: int
    """Bucket size, seconds."""
    at: Time
    """Start of the bucket."""
    stored: MetricStatistics | None
    """null: there is no aggregate."""
    recounted: MetricStatistics | None
    """null: there are no readings."""
    lagging: bool
    """Whether the aggregate counts fewer readings: a worker may be about to count the rest."""


class RecountResponse(KeptRange, kw_only=True):
    """The aggregates of one host, compared with its stored readings, in whole buckets."""

    readings: int
    """Stored readings that were recounted."""
    aggregates: int
    """Aggregates that were compared: one for each metric and bucket, and for each hour and day that is whole in it."""
    not_verifiable: int
    """Other aggregates: what they were computed from has expired."""
    equal: bool
    """Whether every aggregate is exactly what its readings give."""
    differing: int
    differences: list[DifferenceInfo]
    """The first hundred."""


class Recounts:
    """Recounts on request. Equal requests at one time are executed once, and different ones one after another."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._bucket_size = parts.settings.aggregates.bucket_seconds
        # Otherwise they would take all threads that query the database.
        self._limit = ThreadLimit("recounts", 1, MAX_RECOUNTS)
        self._recounts: SingleFlight[RecountResponse] = SingleFlight()

    def route(self) -> Route:
        """The recount of a host."""

        async def recount(plugin: str, host: str, **limits: int | None) -> RecountResponse:
            start, end = time_range(self._parts.clock, limits["from"], limits["to"])
            return await self.recount(plugin, host, start, end)

        return Route(
            f"{HOST_PATH}/recount",
            "Aggregates of one host, compared with its stored readings now",
            RecountResponse,
            recount,
            (FROM, TO),
        )

    async def recount(self, plugin: str, host: str, start: int, end: int) -> RecountResponse:
        """Compare the aggregates of one host with its stored readings.

        Raises:
            Problem: 400, when there are too many readings; 503, when there are too many recounts, or the database does
                not work at this moment.
        """
        return await self._recounts.run(
            (plugin, host, start, end),
            lambda: self._limit.run(self._parts.readers, partial(self._recount, plugin, host, start, end)),
        )

    def _recount(self, plugin: str, host: str, start: int, end: int) -> RecountResponse:
        server_half = self._parts.plugins[plugin].plugin
        auditor = Auditor(plugin, server_half, self._parts.engine, self._bucket_size)
        readings = aggregates = not_verifiable = 0
        differences: list[Difference] = []
        with database_problems():
            with read_transaction(self._parts.engine) as connection:
                marks = watermarks(connection, plugin, self._bucket_size)
            scope = None if is_impossible(host) else auditor.scope(start, end, host)
            if scope and scope.rows > MAX_READINGS:
                raise Problem(
                    400,
                    f"from: expected at most {MAX_READINGS} readings in the time range, found {scope.rows};"
                    " use a shorter one, or the command verify",
                    limit="readings",
                )
            for chunk in auditor.compare(scope) if scope else ():
                readings += chunk.readings
                aggregates += chunk.aggregates
                not_verifiable += len(chunk.not_verifiable)
                differences += chunk.differences
        width = span(self._bucket_size)
        return RecountResponse(
            **header(self._parts, plugin, host, start - start % width, -(-end // width) * width),
            kept_since=kept_since(marks[READINGS].kept_since, start),
            readings=readings,
            aggregates=aggregates,
            not_verifiable=not_verifiable,
            equal=not differences,
            differing=len(differences),
            differences=[_difference(each) for each in islice(differences, MAX_LISTED)],
        )


def _difference(found: Difference) -> DifferenceInfo:
    _, at, metric, resolution = found.key
    return DifferenceInfo(
        metric=metric,
        resolution=resolution,
        at=rfc3339(at),
        stored=_statistics(found.stored),
        recounted=_statistics(found.computed),
        lagging=found.lagging,
    )


def _statistics(statistics: Statistics | None) -> MetricStatistics | None:
    return None if statistics is None else metric(statistics)
