"""What queries of one host's history have in common: they are answered from SQL by any worker."""

from collections.abc import Sequence
from typing import Any

import msgspec

from sparkle_app.model.time import rfc3339, span
from sparkle_app.runtime.clock import WallClock
from sparkle_app.storage.statements import chunks
from sparkle_app.transfer import csv_files
from sparkle_app.transfer.layouts import Layout
from sparkle_app.web.api.parameters import instant, repeated, text
from sparkle_app.web.api.responses import Time
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, current_time
from sparkle_app.web.slices import Slices

FROM = instant(
    "from", "Start of the time range: RFC 3339, or a date (00:00 UTC). Default: one hour before the end."
)
TO = instant("to", "End of the time range, exclusive: RFC 3339, or a date (00:00 UTC). Default: now.")
METRICS = repeated(text("metric", "Only these metrics: may be given several times. Default: all metrics."))
HOUR = span(3600)
_CSV_ROWS = 100
"""Encoded at once: about a millisecond."""


class TimeRange(msgspec.Struct, kw_only=True, rename={"start": "from", "end": "to"}):
    """The time range of a query of one host's history."""

    plugin: str
    host: str
    unit: str
    start: Time
    end: Time


class KeptRange(TimeRange, kw_only=True):
    """A time range of rows that retention may have deleted in part."""

    kept_since: Time | None
    """Rows that begin before this time have expired; null: the range does not begin before what is kept."""


def time_range(clock: WallClock, start: int | None, end: int | None) -> tuple[int, int]:
    """The time range of a request, microseconds since the epoch; by default, the last hour.

    Raises:
        Problem: 400, when it ends before it begins; 503, while the time is not known.
    """
    end = current_time(clock) if end is None else end
    start = end - HOUR if start is None else start
    if start >= end:
        raise Problem(400, f"from: expected a time before {rfc3339(end)}, found {rfc3339(start)}")
    return start, end


def header(parts: WebParts, plugin: str, host: str, start: int, end: int) -> dict[str, str]:
    """The fields of :class:`TimeRange`."""
    return {
        "plugin": plugin,
        "host": host,
        "unit": parts.plugins[plugin].plugin.unit,
        "start": rfc3339(start),
        "end": rfc3339(end),
    }


def kept_since(at: int, start: int) -> Time | None:
    """The field of :class:`KeptRange`.

    Arguments:
        at: rows are kept since this time, microseconds since the epoch.
        start: of the range.
    """
    return rfc3339(at) if start < at else None


async def csv_body(slices: Slices, layout: Layout, items: Sequence[Any]) -> bytes:
    """Rows as CSV, encoded in slices."""
    pieces = [csv_files.header(layout)]
    async with slices.computation() as computation:
        for some in chunks(items, _CSV_ROWS):
            pieces.append(csv_files.encode(layout, map(layout.row_of, some)))
            await computation.pause()
    return b"".join(pieces)


def is_impossible(host: str) -> bool:
    """Records with such a hostname are rejected, and PostgreSQL does not accept NUL in a parameter."""
    return "\0" in host
