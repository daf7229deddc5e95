"""Whether the aggregates of a host can be trusted: recounted from stored readings, and how complete those are."""

import asyncio
from itertools import islice

from sparkle_app.audit.auditor import Auditor
from sparkle_app.audit.differences import Difference
from sparkle_app.model.buckets import Statistics
from sparkle_app.model.completeness import completeness
from sparkle_app.model.retention import READINGS
from sparkle_app.model.time import rfc3339, span
from sparkle_app.plugin_api import JsonPlugin, StringPlugin
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.errors import transient_error
from sparkle_app.storage.hosts import select_activity
from sparkle_app.storage.retention import watermarks
from sparkle_app.web.api import responses
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, current_time, unavailable
from sparkle_app.web.queries import from_database
from sparkle_app.web.single_flight import SingleFlight

MAX_READINGS = 200_000
"""Recounted for one request: some seconds."""
MAX_RECOUNTS = 20
"""In progress or waiting."""
MAX_BUCKETS = 50_000
"""Of a request for the completeness: five weeks of minutes."""
MAX_LISTED = 100
_NOT_AGGREGATED = (StringPlugin.numeric_value, JsonPlugin.numeric_value)
"""With these, a plugin has no aggregates: when it sent readings is not counted."""


class Evidence:
    """Answers requests for a recount and for the completeness. Equal recounts at one time are executed once, and
    different ones one after another."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._bucket_size = parts.settings.aggregates.bucket_seconds
        # Otherwise they would take all threads that query the database.
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._recounts: SingleFlight[responses.RecountResponse] = SingleFlight()

    async def recount(self, plugin: str, host: str, start: int, end: int) -> responses.RecountResponse:
        """Compare the aggregates of one host with its stored readings.

        Raises:
            Problem: 400, when there are too many readings; 503, when there are too many recounts, or the database does
                not work at this moment.
        """
        return await self._recounts.run(
            (plugin, host, start, end),
            lambda: self._in_thread(plugin, host, start, end),
        )

    async def _in_thread(self, plugin: str, host: str, start: int, end: int) -> responses.RecountResponse:
        if self._waiting >= MAX_RECOUNTS:
            raise unavailable(
                f"expected at most {MAX_RECOUNTS} recounts at one time; repeat the request later"
            )
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.get_running_loop().run_in_executor(
                    self._parts.readers, self._recount, plugin, host, start, end
                )
        finally:
            self._waiting -= 1

    def _recount(self, plugin: str, host: str, start: int, end: int) -> responses.RecountResponse:
        server_half = self._parts.plugins[plugin].plugin
        auditor = Auditor(plugin, server_half, self._parts.engine, self._bucket_size)
        readings = aggregates = not_verifiable = 0
        differences: list[Difference] = []
        try:
            with read_transaction(self._parts.engine) as connection:
                marks = watermarks(connection, plugin, self._bucket_size)
            # No host has such a name.
            scope = None if "\0" in host else auditor.scope(start, end, host)
            if scope and scope.rows > MAX_READINGS:
                raise Problem(
                    400,
                    f"from: expected at most {MAX_READINGS} readings in the time range, found {scope.rows};"
                    " use a shorter one, or the command verify",
                )
            for page in auditor.compare(scope) if scope else ():
                readings += page.readings
                aggregates += page.aggregates
                not_verifiable += len(page.not_verifiable)
                differences += page.differences
        except Problem:
            raise
        except Exception as error:
            raise unavailable(str(transient_error(error))) from error
        width = span(self._bucket_size)
        return responses.RecountResponse(
            plugin=plugin,
            host=host,
            unit=server_half.unit,
            start=rfc3339(start - start % width),
            end=rfc3339(-(-end // width) * width),
            kept_since=responses.kept_since(marks[READINGS].kept_since, start),
            readings=readings,
            aggregates=aggregates,
            not_verifiable=not_verifiable,
            equal=not differences,
            differing=len(differences),
            differences=[_difference(each) for each in islice(differences, MAX_LISTED)],
        )

    async def completeness(
        self, plugin: str, host: str, start: int, end: int
    ) -> responses.CompletenessResponse:
        """How often a host sent readings, compared with its usual interval.

        Raises:
            Problem: 400, when the range is too long; 404, when the host is not known; 503, when the database does not
                work at this moment.
        """
        end = min(end, current_time(self._parts.clock))
        width = span(self._bucket_size)
        if (end - start) // width > MAX_BUCKETS:
            raise Problem(
                400,
                f"from: expected at most {MAX_BUCKETS * self._bucket_size} s before the end of the time range,"
                f" found {(end - start) // span(1)}",
            )
        server_half = self._parts.plugins[plugin].plugin
        activity, marks = await from_database(
            self._parts,
            lambda connection: (
                select_activity(connection, host, plugin),
                watermarks(connection, plugin, self._bucket_size),
            ),
        )
        if activity is None:
            raise Problem(404, f"host: expected one that sends readings of {plugin}, found {host[:100]!r}")
        kept_since = marks[self._bucket_size].kept_since
        kept = responses.kept_since(kept_since, start)
        # What has expired is neither sent nor missing.
        start = max(start, activity.first_observed_at - activity.first_observed_at % width, kept_since)
        counts = await from_database(
            self._parts,
            lambda connection: sorted(
                at
                for _, at, _ in server_half.count_aggregates(connection, self._bucket_size, start, end, host)
            ),
        )
        interval = activity.interval
        aggregated = type(server_half).numeric_value not in _NOT_AGGREGATED
        found = (
            completeness(counts, width, interval, start, end)
            if interval and aggregated and start < end
            else None
        )
        return responses.CompletenessResponse(
            plugin=plugin,
            host=host,
            unit=server_half.unit,
            start=rfc3339(start),
            end=rfc3339(max(start, end)),
            kept_since=kept,
            interval_seconds=None if interval is None else interval // span(1),
            expected=found.expected if found else None,
            missing=found.missing if found else None,
            completeness=found.ratio if found else None,
            gaps=[
                responses.GapInfo(start=rfc3339(gap.start), end=rfc3339(gap.end), missing=gap.missing)
                for gap in (found.gaps if found else ())
            ],
        )


def _difference(found: Difference) -> responses.DifferenceInfo:
    _, at, metric, resolution = found.key
    return responses.DifferenceInfo(
        metric=metric,
        resolution=resolution,
        at=rfc3339(at),
        stored=_metric(found.stored),
        recounted=_metric(found.computed),
        lagging=found.lagging,
    )


def _metric(statistics: Statistics | None) -> responses.MetricStatistics | None:
    return None if statistics is None else responses.metric(statistics)
