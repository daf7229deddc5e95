"""The columns of files: those of the SQL tables (docs/compatibility.md)."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any

from sparkle_app.envelope.v1 import HOSTNAME_MAX, KEY_MAX
from sparkle_app.model.buckets import (
    MAX_BUCKET_SECONDS,
    MAX_SCALED,
    MIN_BUCKET_SECONDS,
    SCALE,
    AggregateRow,
    Statistics,
    bucket_start,
)
from sparkle_app.model.reading import Reading, StoredReading
from sparkle_app.model.retention import DAY
from sparkle_app.plugin.default_tables import has_default_readings
from sparkle_app.plugin_api import Plugin
from sparkle_app.transfer import kinds
from sparkle_app.transfer.kinds import Kind

_MAX_INTEGER = 2**31 - 1
_TOPIC_MAX = 249
Row = tuple[Any, ...]
"""A value for each column."""


class Rows(StrEnum):
    """What a file contains."""

    READINGS = "readings"
    AGGREGATES = "aggregates"


@dataclass(frozen=True)
class Layout:
    """The columns of a file, and how its rows correspond to what plugins load and store."""

    what: Rows
    kinds: Mapping[str, Kind]
    """The kind of each column, in their order."""
    row_of: Callable[[Any], Row]
    """The row of a :class:`StoredReading` or an :class:`AggregateRow`."""
    item_of: Callable[[Row], Any]
    """The :class:`Reading` or :class:`AggregateRow` of a row. Raises InvalidCellError if they contradict each other."""

    @cached_property
    def columns(self) -> list[str]:
        """The names of the columns, in their order."""
        return list(self.kinds)


def layouts(name: str, plugin: Plugin) -> dict[str, Layout]:
    """The layouts of a plugin's readings and aggregates.

    Arguments:
        name: NAME of the plugin.
    """
    readings = Layout(
        Rows.READINGS,
        {
            "id": kinds.ID,
            "config_id": kinds.integer(-kinds.MAX_BIGINT - 1),
            "hostname": kinds.text(HOSTNAME_MAX),
            "metric": kinds.text(KEY_MAX),
            "value": _value_kind(plugin),
            "observed_at": kinds.TIME,
            "received_at": kinds.TIME,
            "clock_trusted": kinds.FLAG,
            "topic": kinds.text(_TOPIC_MAX),
            "partition": kinds.integer(0, _MAX_INTEGER),
            "offset": kinds.integer(0),
        },
        _row_of_reading,
        lambda row: _reading_of(name, row),
    )
    return {Rows.READINGS: readings, Rows.AGGREGATES: AGGREGATES_LAYOUT}


def of_header(columns: Sequence[str], known: Mapping[str, Layout]) -> Layout | None:
    """The layout that has these columns, in any order; None if there is none."""
    return next((each for each in known.values() if sorted(columns) == sorted(each.columns)), None)


def _value_kind(plugin: Plugin) -> Kind:
    if not has_default_readings(plugin):
        # Any table may be behind it.
        return kinds.JSON
    try:
        stored = plugin.DataFrame.__table__.c.value.type.python_type
    except NotImplementedError:
        return kinds.JSON
    return {
        float: kinds.number(finite=True),
        int: kinds.integer(-kinds.MAX_BIGINT - 1),
        Decimal: kinds.DECIMAL,
        str: kinds.text(),
    }.get(stored) or kinds.of_type(stored)


def _row_of_reading(each: StoredReading) -> Row:
    return (
        each.id,
        each.config_id,
        each.hostname,
        each.key,
        each.value,
        each.observed_at,
        each.received_at,
        each.clock_trusted,
        each.topic,
        each.partition,
        each.offset,
    )


def _reading_of(name: str, row: Row) -> Reading:
    id_, config_id, hostname, metric, *rest = row
    return Reading(id_, config_id, hostname, name, metric, *rest)


def _row_of_aggregate(each: AggregateRow) -> Row:
    found = each.statistics.as_row()
    return (
        each.hostname,
        each.metric,
        each.resolution,
        each.bucket_start,
        found.count,
        found.sum,
        found.minimum,
        found.maximum,
        found.last,
        found.last_at,
    )


def _aggregate_of(row: Row) -> AggregateRow:
    hostname, metric, resolution, start, *statistics = row
    found = AggregateRow(hostname, metric, resolution, start, Statistics(*statistics))
    _check_bucket(found)
    _check_statistics(found.statistics)
    return found


def _check_bucket(row: AggregateRow) -> None:
    size, each = row.resolution, row.statistics
    if size > MAX_BUCKET_SECONDS and size != DAY:
        sizes = f"a bucket size of {MIN_BUCKET_SECONDS} to {MAX_BUCKET_SECONDS} s, or {DAY} s"
        raise kinds.InvalidCellError(sizes, "resolution")
    if row.bucket_start != bucket_start(row.bucket_start, size):
        raise kinds.InvalidCellError(f"the start of a bucket of {size} s", "bucket_start")
    if row.bucket_start != bucket_start(each.last_at, size):
        raise kinds.InvalidCellError("a time in the bucket", "last_at")
    # The day that it is merged into has the same column.
    most = _MAX_INTEGER * size // DAY
    if each.count > most:
        raise kinds.InvalidCellError(f"at most {most} readings in {size} s", "count")


def _check_statistics(each: Statistics) -> None:
    if each.minimum > each.maximum:
        raise kinds.InvalidCellError(f"at most the maximum, {each.maximum}", "minimum")
    if not each.minimum <= each.last <= each.maximum:
        raise kinds.InvalidCellError(f"a number from {each.minimum} to {each.maximum}", "last")
    rounding = each.count * sys.float_info.epsilon * max(abs(each.minimum), abs(each.maximum))
    # An infinite sum stands for any that is at least as large as this.
    largest = MAX_SCALED / SCALE
    if (
        min(each.sum, largest) / each.count > each.maximum + rounding
        or max(each.sum, -largest) / each.count < each.minimum - rounding
    ):
        count = each.count
        raise kinds.InvalidCellError(
            f"a number from {count} times {each.minimum} to {count} times {each.maximum}", "sum"
        )


AGGREGATES_LAYOUT = Layout(
    Rows.AGGREGATES,
    {
        "hostname": kinds.text(HOSTNAME_MAX),
        "metric": kinds.text(KEY_MAX),
        "resolution": kinds.integer(MIN_BUCKET_SECONDS, DAY),
        "bucket_start": kinds.TIME,
        "count": kinds.integer(1, _MAX_INTEGER),
        # The database has infinity for a sum beyond the range of a double.
        "sum": kinds.number(finite=False),
        "minimum": kinds.number(finite=True),
        "maximum": kinds.number(finite=True),
        "last": kinds.number(finite=True),
        "last_at": kinds.TIME,
    },
    _row_of_aggregate,
    _aggregate_of,
)
