"""How often one host sent readings, compared with its usual interval."""

import msgspec

from sparkle_app.model.completeness import completeness
from sparkle_app.model.time import rfc3339, span
from sparkle_app.plugin_api import JsonPlugin, StringPlugin
from sparkle_app.storage.host_queries import select_activity
from sparkle_app.storage.retention import watermarks
from sparkle_app.web.api.history import FROM, TO, KeptRange, header, kept_since, time_range
from sparkle_app.web.api.responses import Time
from sparkle_app.web.api.route import HOST_PATH, Route
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, current_time
from sparkle_app.web.queries import from_database

MAX_BUCKETS = 50_000
"""Of a request: five weeks of minutes."""
_NOT_AGGREGATED = (StringPlugin.numeric_value, JsonPlugin.numeric_value)
"""With these, a plugin has no aggregates: when it sent readings is not counted."""


class GapInfo(msgspec.Struct, kw_only=True, rename={"start": "from", "end": "to"}):
    """A time without readings that lasted longer than the usual interval."""

    start: Time
    end: Time
    missing: int
    """How many times the host should have sent readings."""


class CompletenessResponse(KeptRange, kw_only=True):
    """How often one host sent readings, from its first reading and until now at most."""

    interval_seconds: int | None
    """Usual time between its readings; null: not known yet, and so is what depends on it."""
    expected: int | None
    """How often it should have sent readings; null: not known, also of a plugin whose values are not numbers."""
    missing: int | None
    """How often it did not."""
    completeness: float | None
    """From 0 to 1."""
    gaps: list[GapInfo]


def completeness_route(parts: WebParts) -> Route:
    """The completeness of a host."""

    async def found(plugin: str, host: str, **limits: int | None) -> CompletenessResponse:
        return await _completeness(
            parts, plugin, host, *time_range(parts.clock, limits["from"], limits["to"])
        )

    return Route(
        f"{HOST_PATH}/completeness",
        "How often one host sent readings, compared with its usual interval, and when it did not",
        CompletenessResponse,
        found,
        (FROM, TO),
    )


async def _completeness(
    parts: WebParts, plugin: str, host: str, start: int, end: int
) -> CompletenessResponse:
    """How often a host sent readings, compared with its usual interval.

    Raises:
        Problem: 400, when the range is too long; 404, when the host is not known; 503, when the database does not
            work at this moment.
    """
    bucket_size = parts.settings.aggregates.bucket_seconds
    end = min(end, current_time(parts.clock))
    width = span(bucket_size)
    if (end - start) // width > MAX_BUCKETS:
        raise Problem(
            400,
            f"from: expected at most {MAX_BUCKETS * bucket_size} s before the end of the time range,"
            f" found {(end - start) // span(1)}",
            limit="buckets",
        )
    server_half = parts.plugins[plugin].plugin
    activity, marks = await from_database(
        parts,
        lambda connection: (
            select_activity(connection, host, plugin),
            watermarks(connection, plugin, bucket_size),
        ),
    )
    if activity is None:
        raise Problem(404, f"host: expected one that sends readings of {plugin}, found {host[:100]!r}")
    since = marks[bucket_size].kept_since
    kept = kept_since(since, start)
    # What has expired is neither sent nor missing.
    start = max(start, activity.first_observed_at - activity.first_observed_at % width, since)
    # The range may begin within a bucket.
    first = start - start % width
    counts = await from_database(
        parts,
        lambda connection: sorted(
            at for _, at, _ in server_half.count_aggregates(connection, bucket_size, first, end, host)
        ),
    )
    interval = activity.interval
    aggregated = type(server_half).numeric_value not in _NOT_AGGREGATED
    found = (
        completeness(counts, width, interval, start, end) if interval and aggregated and start < end else None
    )
    return CompletenessResponse(
        **header(parts, plugin, host, start, max(start, end)),
        kept_since=kept,
        interval_seconds=None if interval is None else interval // span(1),
        expected=found.expected if found else None,
        missing=found.missing if found else None,
        completeness=found.ratio if found else None,
        gaps=[
            GapInfo(start=rfc3339(gap.start), end=rfc3339(gap.end), missing=gap.missing)
            for gap in (found.gaps if found else ())
        ],
    )
