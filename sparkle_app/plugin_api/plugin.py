"""The base class of all server halves."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from sqlalchemy import Connection, Table

from sparkle_app.model.buckets import AggregateRow, Statistics, bucket_start, merge_into
from sparkle_app.model.reading import Reading, StoredReading
from sparkle_app.plugin_api.numeric import InvalidValue, kind_of, stored_number
from sparkle_app.storage import readings as sql
from sparkle_app.storage.aggregates import (
    delete_aggregates,
    select_aggregates,
    select_bucket_counts,
    upsert_growing,
)
from sparkle_app.storage.aggregation import aggregate_readings, insert_aggregated
from sparkle_app.storage.models import AggregatesTable, ReadingsTable

# Deprecated names of methods: packages that override one continue to work.
_RENAMED = {"measure": "numeric_value", "stored_first": "on_inserted"}


class Plugin:
    """The server half of a plugin. Times are integers: microseconds since 1970-01-01 UTC.

    Every method may be overridden. Methods with a ``connection`` run in a thread, in a transaction that the handler
    commits. After a failure they may be called again with the same arguments, so they must be idempotent.
    :meth:`validate` and :meth:`numeric_value` run in several processes, which are forked after the package is imported:
    the result must depend on the arguments only, and must be picklable.
    """

    unit: str = ""
    """Unit of the values, such as °C."""
    minimum: float = -math.inf
    """The smallest valid value."""
    maximum: float = math.inf
    """The largest valid value."""
    DataFrame: type[ReadingsTable]
    """SQL model of stored readings."""
    Aggregates: type[AggregatesTable]
    """SQL model of aggregates."""
    deprecated: ClassVar[Mapping[str, str]] = {}
    """Deprecated names of methods that the class overrides, with the new names."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        classes = [vars(each) for each in cls.__mro__]
        deprecated = {old: new for own in classes for old, new in own.get("deprecated", {}).items()}
        for old, new in _RENAMED.items():
            # In every class both names refer to the same method, whichever one it, or a mixin, overrides.
            own = next(each for each in classes if old in each or new in each)
            if new not in own:
                deprecated[old] = new
            if own.get(old) is not own.get(new):
                method = own.get(new, own.get(old))
                setattr(cls, old, method)
                setattr(cls, new, method)
        cls.deprecated = deprecated

    def validate(self, key: str, value: Any) -> Any:
        """Check a value, and return it as it will be stored.

        Arguments:
            key: the metric.
            value: any JSON value, as received from the collector.

        Raises:
            InvalidValue: if the value cannot be a measurement. The reading becomes a dead letter.
        """
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidValue(f"expected a number, found {kind_of(value)}")
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
        """The number to aggregate, by default the value itself.

        Returns:
            A finite number; None if the reading is to be stored, but not aggregated. A reading whose number is invalid
            becomes a dead letter.
        """
        return float(reading.value)

    def store_readings(self, connection: Connection, readings: Sequence[Reading]) -> Sequence[StoredReading]:
        """Insert the readings whose id is not stored yet.

        Returns:
            All readings as they are stored. A duplicate is returned as it was first stored.
        """
        by_id = {reading.id: reading for reading in reversed(readings)}
        new = sql.insert_new(connection, self._readings, list(by_id.values()))
        inserted = [reading for id_, reading in by_id.items() if id_ in new]
        self.on_inserted(connection, inserted)
        known = [reading for id_, reading in by_id.items() if id_ not in new]
        stored = [reading.as_stored() for reading in inserted]
        return [*stored, *sql.select_known(connection, self._readings, known)]

    def on_inserted(self, connection: Connection, readings: Sequence[Reading]) -> None:
        """Called with the readings that were newly inserted, in the same transaction. Does nothing by default."""

    def load_readings(
        self,
        connection: Connection,
        hostnames: Sequence[str],
        start: int,
        end: int,
        limit: int | None = None,
    ) -> Iterable[StoredReading]:
        """Stored readings of some hosts with ``start <= observed_at < end``, in order of event time."""
        return sql.select_span(connection, self._readings, hostnames, start, end, limit)

    def expire_readings(self, connection: Connection, before: int, limit: int) -> int:
        """Delete at most ``limit`` stored readings with ``observed_at < before``; returns their number.

        Called until it returns 0, if :meth:`load_readings` is overridden: the handler deletes from its own tables
        itself. If this method is not overridden as well, readings of the plugin are kept for ever.
        """
        raise NotImplementedError

    def count_readings(
        self, connection: Connection, start: int, end: int, hostname: str | None = None
    ) -> Iterable[tuple[str, int]]:
        """Hosts with stored readings with ``start <= observed_at < end``, and the number of these.

        Arguments:
            hostname: only this host.
        """
        return sql.select_counts(connection, self._readings, start, end, hostname)

    def event_time_after(
        self, connection: Connection, hostname: str, start: int, end: int, readings: int
    ) -> int:
        """Event time of a host's reading after the first ``readings`` since ``start``; ``end`` if there is none."""
        return sql.select_nth_time(connection, self._readings, hostname, start, end, readings)

    def store_aggregates(self, connection: Connection, rows: Sequence[AggregateRow]) -> None:
        """Upsert aggregates. A row that counts fewer readings than the stored row must change nothing."""
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
        """Stored aggregates of some hosts with ``start <= bucket_start < end``, in order of time.

        Arguments:
            metric: only this metric.
            resolution: bucket size in seconds.
        """
        return select_aggregates(connection, self._aggregates, hostnames, metric, resolution, start, end)

    def count_aggregates(
        self, connection: Connection, resolution: int, start: int, end: int, hostname: str | None = None
    ) -> Iterable[tuple[str, int, int]]:
        """Hostname, start and number of readings of each stored bucket with ``start <= bucket_start < end``.

        Arguments:
            resolution: bucket size in seconds.
            hostname: only this host.
        """
        return select_bucket_counts(connection, self._aggregates, resolution, start, end, hostname)

    def delete_aggregates(
        self, connection: Connection, resolution: int, keys: Sequence[tuple[str, int, str]]
    ) -> None:
        """Delete the aggregates with these keys (hostname, start of the bucket, metric), and no others.

        Called before they are recomputed.
        """
        delete_aggregates(connection, self._aggregates, resolution, keys)

    def expire_aggregates(self, connection: Connection, resolution: int, before: int, limit: int) -> int:
        """Delete at most ``limit`` aggregates with ``bucket_start < before``, as :meth:`expire_readings`.

        Called if :meth:`load_aggregates` is overridden.

        Arguments:
            resolution: bucket size in seconds.
        """
        raise NotImplementedError

    def compute_aggregates(
        self, connection: Connection, hostnames: Sequence[str], resolution: int, start: int, end: int
    ) -> Iterable[AggregateRow]:
        """Aggregates of the readings of some hosts with ``start <= observed_at < end``, which bound whole buckets."""
        if self._aggregated_in_sql:
            yield from aggregate_readings(connection, self._readings, hostnames, resolution, start, end)
            return
        buckets: dict[tuple[str, int], dict[str, Statistics]] = {}
        for reading in self.load_readings(connection, hostnames, start, end):
            if (value := stored_number(self, reading)) is not None:
                at = reading.hostname, bucket_start(reading.observed_at, resolution)
                statistics = Statistics.of(value, reading.observed_at)
                merge_into(buckets.setdefault(at, {}), reading.key, statistics)
        for (hostname, bucket_at), metrics in buckets.items():
            for metric, statistics in metrics.items():
                yield AggregateRow(hostname, metric, resolution, bucket_at, statistics.as_row())

    def fill_aggregates(
        self, connection: Connection, hostnames: Sequence[str], resolution: int, start: int, end: int
    ) -> int:
        """Store the result of :meth:`compute_aggregates` where no aggregate is stored; returns the number of rows."""
        scope = (hostnames, resolution, start, end)
        if self._aggregated_in_sql and type(self).store_aggregates is Plugin.store_aggregates:
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

    measure = numeric_value  # the old names, as in _RENAMED
    stored_first = on_inserted

    @property
    def _aggregated_in_sql(self) -> bool:
        """Whether aggregates can be computed in SQL: numeric values and stored readings are the default ones."""
        own = type(self)
        return own.numeric_value is Plugin.numeric_value and own.load_readings is Plugin.load_readings

    @property
    def _readings(self) -> Table:
        return self.DataFrame.__table__

    @property
    def _aggregates(self) -> Table:
        return self.Aggregates.__table__
