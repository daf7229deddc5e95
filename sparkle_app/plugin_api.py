"""All that the server half of a plugin imports (docs/plugins.md).

A plugin is a subclass of :class:`Plugin`. What it leaves out, the defaults do: one finite number for each key,
stored in the plugin's own two tables.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

from sqlalchemy import Connection, Table

from sparkle_app.model.buckets import AggregateRow, Statistics, bucket_start, merge_into
from sparkle_app.model.reading import Reading, StoredReading
from sparkle_app.storage import readings as sql
from sparkle_app.storage.aggregates import (
    aggregate_readings,
    delete_aggregates,
    insert_aggregated,
    select_aggregates,
    select_bucket_counts,
    upsert_growing,
)
from sparkle_app.storage.models import AggregatesTable, Base, ReadingsTable, UtcDateTime

__all__ = [
    "AggregateRow",
    "AggregatesTable",
    "Base",
    "InvalidValue",
    "Plugin",
    "Reading",
    "ReadingsTable",
    "Statistics",
    "StoredReading",
    "UtcDateTime",
]


# Old names of methods: a package that replaces one goes on working.
_RENAMED = {"measure": "numeric_value", "stored_first": "on_inserted"}


class InvalidValue(ValueError):
    """Raised by :meth:`Plugin.validate`; its text says what was expected, and does not quote the value."""


class Plugin:
    """The server half of a plugin. Times are microseconds since 1970-01-01 UTC.

    Every method may be replaced. Those that take a ``connection`` run in a transaction that is committed for them, in a
    thread; they may be called again with the same arguments after any failure, and must then change nothing.
    :meth:`validate` and :meth:`numeric_value` run in several processes, forked once the package is imported: what they
    return must depend on their arguments alone, and must be picklable.
    """

    unit: str = ""
    """Unit of the values, such as °C."""
    minimum: float = -math.inf
    """The least valid value."""
    maximum: float = math.inf
    """The greatest valid value."""
    DataFrame: type[ReadingsTable]
    """SQL model of the raw readings."""
    Aggregates: type[AggregatesTable]
    """SQL model of the aggregates."""
    deprecated: ClassVar[Mapping[str, str]] = {}
    """Methods that the class replaces under their old names, with the new ones."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        own = vars(cls)
        found = {old: new for old, new in _RENAMED.items() if old in own and new not in own}
        cls.deprecated = {**cls.deprecated, **found}
        for old, new in _RENAMED.items():
            # Both names are one method in every class, whichever of them it or those that call it use.
            if old in found:
                setattr(cls, new, own[old])
            elif new in own:
                setattr(cls, old, own[new])

    def validate(self, key: str, value: Any) -> Any:
        """The value as it is to be stored.

        Arguments:
            key: what was measured; the metric.
            value: any JSON value, as the collector sent it.

        Raises:
            InvalidValue: when the collecting half can never have meant this.
        """
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidValue("expected a number")
        if not self.minimum <= value <= self.maximum:
            raise InvalidValue(f"expected {self.minimum:g} to {self.maximum:g} {self.unit}".rstrip())
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise InvalidValue("expected a finite number")
        return number

    def numeric_value(self, reading: StoredReading) -> float | None:
        """The number that is aggregated (count, average, minimum, maximum, last); the value itself by default.

        None: this reading is stored, and not aggregated.
        """
        return float(reading.value)

    def store_readings(self, connection: Connection, readings: Sequence[Reading]) -> Sequence[StoredReading]:
        """Store raw readings, each once, whatever is sent again.

        Returns:
            The readings as they are stored now: a reading whose id was stored before is returned as it was then.
        """
        by_id = {reading.id: reading for reading in reversed(readings)}
        new = sql.insert_new(connection, self._readings, list(by_id.values()))
        inserted = [reading for id_, reading in by_id.items() if id_ in new]
        self.on_inserted(connection, inserted)
        known = [reading for id_, reading in by_id.items() if id_ not in new]
        stored = [reading.as_stored() for reading in inserted]
        return [*stored, *sql.select_known(connection, self._readings, known)]

    def on_inserted(self, connection: Connection, readings: Sequence[Reading]) -> None:
        """Called with the readings that were stored just now and not before, in the same transaction."""

    def load_readings(
        self,
        connection: Connection,
        hostnames: Sequence[str],
        start: int,
        end: int,
        limit: int | None = None,
    ) -> Iterable[StoredReading]:
        """Stored readings of some hosts with ``start <= observed_at < end``, in the order of event time."""
        return sql.select_span(connection, self._readings, hostnames, start, end, limit)

    def count_readings(
        self, connection: Connection, start: int, end: int, hostname: str | None = None
    ) -> Iterable[tuple[str, int]]:
        """Each host (or this one) with stored readings of ``start <= observed_at < end``, and their number."""
        return sql.select_counts(connection, self._readings, start, end, hostname)

    def event_time_after(
        self, connection: Connection, hostname: str, start: int, end: int, readings: int
    ) -> int:
        """Event time of a host's reading that has ``readings`` others before it, from ``start`` on; or ``end``."""
        return sql.select_nth_time(connection, self._readings, hostname, start, end, readings)

    def store_aggregates(self, connection: Connection, rows: Sequence[AggregateRow]) -> None:
        """Insert or replace aggregates; a row that counts fewer readings than the stored one must change nothing."""
        upsert_growing(connection, self._aggregates, rows)

    def load_aggregates(
        self,
        connection: Connection,
        hostnames: Sequence[str],
        metric: str | None,
        resolution: int,
        start: int,
        end: int,
    ) -> Iterable[AggregateRow]:
        """Stored aggregates of some hosts with ``start <= bucket_start < end``, in the order of time."""
        return select_aggregates(connection, self._aggregates, hostnames, metric, resolution, start, end)

    def count_aggregates(
        self, connection: Connection, resolution: int, start: int, end: int, hostname: str | None = None
    ) -> Iterable[tuple[str, int, int]]:
        """Hostname, start and number of readings of each stored bucket with ``start <= bucket_start < end``.

        Arguments:
            hostname: only this host's.
        """
        return select_bucket_counts(connection, self._aggregates, resolution, start, end, hostname)

    def delete_aggregates(
        self, connection: Connection, resolution: int, keys: Sequence[tuple[str, int, str]]
    ) -> None:
        """Delete stored aggregates (hostname, bucket's start and metric) before they are made anew; no others."""
        delete_aggregates(connection, self._aggregates, resolution, keys)

    def compute_aggregates(
        self, connection: Connection, hostnames: Sequence[str], resolution: int, start: int, end: int
    ) -> Iterable[AggregateRow]:
        """What the stored readings of some hosts with ``start <= observed_at < end`` give; whole buckets."""
        if self._plain:
            yield from aggregate_readings(connection, self._readings, hostnames, resolution, start, end)
            return
        buckets: dict[tuple[str, int], dict[str, Statistics]] = {}
        for reading in self.load_readings(connection, hostnames, start, end):
            if (value := self.numeric_value(reading)) is not None:
                at = reading.hostname, bucket_start(reading.observed_at, resolution)
                statistics = Statistics.of(value, reading.observed_at)
                merge_into(buckets.setdefault(at, {}), reading.key, statistics)
        for (hostname, bucket_at), metrics in buckets.items():
            for metric, statistics in metrics.items():
                yield AggregateRow(hostname, metric, resolution, bucket_at, statistics)

    def fill_aggregates(
        self, connection: Connection, hostnames: Sequence[str], resolution: int, start: int, end: int
    ) -> int:
        """Store what :meth:`compute_aggregates` gives where no aggregate is stored; how many were."""
        scope = (hostnames, resolution, start, end)
        if self._plain and type(self).store_aggregates is Plugin.store_aggregates:
            return insert_aggregated(connection, self._aggregates, self._readings, *scope)
        stored = self.load_aggregates(connection, hostnames, None, resolution, start, end)
        known = {(row.hostname, row.bucket_start, row.metric) for row in stored}
        missing = [
            row
            for row in self.compute_aggregates(connection, *scope)
            if (row.hostname, row.bucket_start, row.metric) not in known
        ]
        if missing:
            self.store_aggregates(connection, missing)
        return len(missing)

    @property
    def _plain(self) -> bool:
        """Whether the database can aggregate by itself: nothing says what else a reading is or means."""
        return (
            type(self).numeric_value is Plugin.numeric_value
            and type(self).load_readings is Plugin.load_readings
        )

    @property
    def _readings(self) -> Table:
        return cast(Table, self.DataFrame.__table__)

    @property
    def _aggregates(self) -> Table:
        return cast(Table, self.Aggregates.__table__)


for _old, _new in _RENAMED.items():
    setattr(Plugin, _old, getattr(Plugin, _new))
