"""All that the server half of a plugin imports (docs/plugins.md).

A plugin is a subclass of :class:`Plugin`. What it leaves out, the defaults do: one finite number for each key,
stored in the plugin's own two tables.
"""

import math
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, cast

from sqlalchemy import Connection, Table, delete, func, select

from sparkle_app.buckets import AggregateRow, Statistics, bucket_start, merge_into
from sparkle_app.storage.models import AggregatesTable, Base, ReadingsTable, UtcDateTime
from sparkle_app.storage.statements import IN_LIMIT, insert_new, select_aggregated, select_ids, upsert_growing
from sparkle_app.wire.envelope import Reading
from sparkle_app.wire.event_time import micros, moment

__all__ = [
    "AggregateRow",
    "AggregatesTable",
    "Base",
    "InvalidValue",
    "Plugin",
    "Reading",
    "ReadingsTable",
    "Statistics",
    "UtcDateTime",
]


class InvalidValue(ValueError):
    """Raised by :meth:`Plugin.validate`; its text says what was expected, and does not quote the value."""


class Plugin:
    """The server half of a plugin. Times are microseconds since 1970-01-01 UTC.

    Every method may be replaced. Those that take a ``connection`` run in a transaction that is committed for them, in a
    thread; they may be called again with the same arguments after any failure, and must then change nothing.
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

    def measure(self, reading: Reading) -> float | None:
        """The number that is aggregated (count, average, minimum, maximum, last); the value itself by default.

        None: this reading is stored, and not aggregated.
        """
        return float(reading.value)

    def store_readings(self, connection: Connection, readings: Sequence[Reading]) -> Sequence[Reading]:
        """Store raw readings, each once, whatever is sent again.

        Returns:
            The readings as they are stored now: a reading whose id was stored before is returned as it was then.
        """
        table = cast(Table, self.DataFrame.__table__)
        by_id = {_hex(reading.id): reading for reading in reversed(readings)}
        new = insert_new(connection, table, [_row_of(id_, reading) for id_, reading in by_id.items()])
        stored = [reading for id_, reading in by_id.items() if id_ in new]
        self.stored_first(connection, stored)
        known = [id_ for id_ in by_id if id_ not in new]
        if known:
            stored += [
                _reading_of(row, by_id[row["id"]].plugin) for row in select_ids(connection, table, known)
            ]
        return stored

    def stored_first(self, connection: Connection, readings: Sequence[Reading]) -> None:
        """Called with the readings that were stored just now and not before, in the same transaction."""

    def load_readings(
        self,
        connection: Connection,
        hostnames: Sequence[str],
        start: int,
        end: int,
        limit: int | None = None,
    ) -> Iterable[Reading]:
        """Stored readings of some hosts with ``start <= observed_at < end``, in the order of event time."""
        table = self.DataFrame.__table__
        for first in range(0, len(hostnames), IN_LIMIT):
            statement = (
                select(table)
                .where(table.c.hostname.in_(hostnames[first : first + IN_LIMIT]))
                .where(table.c.observed_at >= moment(start), table.c.observed_at < moment(end))
                .order_by(table.c.observed_at, table.c.id)
                .limit(limit)
            )
            for row in connection.execute(statement).mappings():
                yield _reading_of(row, "")

    def compute_aggregates(
        self, connection: Connection, hostnames: Sequence[str], resolution: int, start: int, end: int
    ) -> Iterable[AggregateRow]:
        """What the stored readings of some hosts with ``start <= observed_at < end`` give; whole buckets."""
        if type(self).measure is Plugin.measure and type(self).load_readings is Plugin.load_readings:
            table = cast(Table, self.DataFrame.__table__)
            for first in range(0, len(hostnames), IN_LIMIT):
                statement = select_aggregated(
                    connection.dialect.name,
                    table,
                    resolution,
                    table.c.hostname.in_(hostnames[first : first + IN_LIMIT]),
                    table.c.observed_at >= moment(start),
                    table.c.observed_at < moment(end),
                )
                for row in connection.execute(statement):
                    yield _aggregate_of(row, resolution)
            return
        buckets: dict[tuple[str, int], dict[str, Statistics]] = {}
        for reading in self.load_readings(connection, hostnames, start, end):
            if (value := self.measure(reading)) is not None:
                at = reading.hostname, bucket_start(reading.observed_at, resolution)
                statistics = Statistics.of(value, reading.observed_at)
                merge_into(buckets.setdefault(at, {}), reading.key, statistics)
        for (hostname, bucket_at), metrics in buckets.items():
            for metric, statistics in metrics.items():
                yield AggregateRow(hostname, metric, resolution, bucket_at, statistics)

    def event_time_after(
        self, connection: Connection, hostname: str, start: int, end: int, readings: int
    ) -> int:
        """Event time of a host's reading that has ``readings`` others before it, from ``start`` on; or ``end``."""
        table = self.DataFrame.__table__
        statement = (
            select(table.c.observed_at)
            .where(table.c.hostname == hostname)
            .where(table.c.observed_at >= moment(start), table.c.observed_at < moment(end))
            .order_by(table.c.observed_at)
            .offset(readings)
            .limit(1)
        )
        found = connection.execute(statement).scalar()
        return end if found is None else micros(found)

    def count_readings(self, connection: Connection, start: int, end: int) -> Iterable[tuple[str, int]]:
        """Each host with stored readings of ``start <= observed_at < end``, and their number."""
        table = self.DataFrame.__table__
        statement = (
            select(table.c.hostname, func.count())
            .where(table.c.observed_at >= moment(start), table.c.observed_at < moment(end))
            .group_by(table.c.hostname)
        )
        for hostname, count in connection.execute(statement):
            yield hostname, int(count)

    def store_aggregates(self, connection: Connection, rows: Sequence[AggregateRow]) -> None:
        """Insert or replace aggregates; a row that counts fewer readings than the stored one must change nothing."""
        upsert_growing(
            connection,
            cast(Table, self.Aggregates.__table__),
            [
                {
                    "hostname": row.hostname,
                    "metric": row.metric,
                    "resolution": row.resolution,
                    "bucket_start": moment(row.bucket_start),
                    "count": row.statistics.count,
                    "sum": row.statistics.sum,
                    "minimum": row.statistics.minimum,
                    "maximum": row.statistics.maximum,
                    "last": row.statistics.last,
                    "last_at": moment(row.statistics.last_at),
                }
                for row in rows
            ],
        )

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
        table = self.Aggregates.__table__
        for first in range(0, len(hostnames), IN_LIMIT):
            statement = (
                select(*(table.c[name] for name in _AGGREGATE))
                .where(table.c.hostname.in_(hostnames[first : first + IN_LIMIT]))
                .where(table.c.resolution == resolution)
                .where(table.c.bucket_start >= moment(start), table.c.bucket_start < moment(end))
                .order_by(table.c.bucket_start, table.c.metric)
            )
            if metric is not None:
                statement = statement.where(table.c.metric == metric)
            for row in connection.execute(statement):
                yield _aggregate_of(row, resolution)

    def delete_aggregates(
        self, connection: Connection, resolution: int, buckets: Sequence[tuple[str, int]]
    ) -> None:
        """Delete the stored aggregates of some buckets (hostname and start), before they are computed anew."""
        table = cast(Table, self.Aggregates.__table__)
        by_host: dict[str, list[int]] = {}
        for hostname, start in buckets:
            by_host.setdefault(hostname, []).append(start)
        for hostname, starts in by_host.items():
            for first in range(0, len(starts), IN_LIMIT):
                connection.execute(
                    delete(table)
                    .where(table.c.hostname == hostname, table.c.resolution == resolution)
                    .where(table.c.bucket_start.in_(list(map(moment, starts[first : first + IN_LIMIT]))))
                )

    def count_aggregates(
        self, connection: Connection, resolution: int, start: int, end: int
    ) -> Iterable[tuple[str, int, int]]:
        """Hostname, start and number of readings of each stored bucket with ``start <= bucket_start < end``."""
        table = self.Aggregates.__table__
        statement = (
            select(table.c.hostname, table.c.bucket_start, func.sum(table.c["count"]))
            .where(table.c.bucket_start >= moment(start), table.c.bucket_start < moment(end))
            .where(table.c.resolution == resolution)
            .group_by(table.c.hostname, table.c.bucket_start)
        )
        for hostname, at, count in connection.execute(statement):
            yield hostname, micros(at), int(count)


_AGGREGATE = ("hostname", "metric", "bucket_start", "count", "sum", "minimum", "maximum", "last", "last_at")


def _hex(id_: bytes) -> str:
    return str(uuid.UUID(bytes=id_))


def _row_of(id_: str, reading: Reading) -> dict[str, Any]:
    return {
        "id": id_,
        "config_id": reading.config_id,
        "hostname": reading.hostname,
        "metric": reading.key,
        "value": reading.value,
        "observed_at": moment(reading.observed_at),
        "received_at": moment(reading.received_at),
        "clock_trusted": reading.clock_trusted,
        "topic": reading.topic,
        "partition": reading.partition,
        "offset": reading.offset,
    }


def _aggregate_of(row: Any, resolution: int) -> AggregateRow:
    hostname, metric, start, count, total, minimum, maximum, last, last_at = row
    statistics = Statistics(int(count), total, minimum, maximum, last, micros(last_at))
    return AggregateRow(hostname, metric, resolution, micros(start), statistics)


def _reading_of(row: Any, plugin: str) -> Reading:
    return Reading(
        id=uuid.UUID(row["id"]).bytes,
        config_id=row["config_id"],
        hostname=row["hostname"],
        plugin=plugin,
        key=row["metric"],
        value=row["value"],
        observed_at=micros(row["observed_at"]),
        received_at=micros(row["received_at"]),
        clock_trusted=row["clock_trusted"],
        topic=row["topic"],
        partition=row["partition"],
        offset=row["offset"],
    )
