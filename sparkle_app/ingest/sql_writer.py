"""Stores the readings of a batch in SQL, through their plugins, in one transaction."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine

from sparkle_app.ingest.metric_limit import MetricLimit
from sparkle_app.model.errors import InvalidRecordError, Reason, TransientError
from sparkle_app.model.reading import Reading, StoredReading
from sparkle_app.model.record import Outcome, Record
from sparkle_app.model.retention import READINGS, ExpiredReading, ExpiredReason
from sparkle_app.model.time import from_seconds, rfc3339
from sparkle_app.plugin.failures import plugin_error, type_and_place
from sparkle_app.plugin_api import InvalidValue, Plugin
from sparkle_app.storage.errors import is_of_database, is_row_error, reraise_swallowed, transient_error
from sparkle_app.storage.retention import watermarks

_ATTRIBUTES = StoredReading.__struct_fields__
Stored = dict[str, list[StoredReading]]
"""Stored readings by NAME of the plugin."""


class Refusal(NamedTuple):
    """A reading that is not stored, because the database rejects it or its host has too many metrics."""

    outcome: Outcome
    reading: Reading
    error: InvalidRecordError


class SqlWriter:
    """Stores readings. If the database rejects a row, or a host has too many metrics, the others are stored.

    Arguments:
        engine: the database.
        plugins: the server halves of the installed plugins, by NAME.
        executor: threads for database access.
        max_metrics: maximum number of distinct metrics of a host, plugin and bucket.
        bucket_size: in seconds.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        engine: Engine,
        plugins: Mapping[str, Plugin],
        executor: Executor,
        max_metrics: int,
        bucket_size: int,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._plugins = plugins
        self._executor = executor
        self._max_metrics = max_metrics
        self._bucket_size = bucket_size
        self._limit = MetricLimit(plugins, max_metrics, bucket_size)

    def forget_metrics(self) -> None:
        """Called after a rebalance: other workers may have stored metrics since."""
        self._limit.forget()

    async def store(self, outcomes: Sequence[Outcome]) -> tuple[Stored, list[Refusal], list[ExpiredReading]]:
        """Store the readings of ``outcomes``, which are not changed.

        Returns:
            The stored readings, those that cannot be stored, and those that have expired.

        Raises:
            TransientError: if the database does not work at this moment. Some readings may have been stored.
        """
        rows = [(outcome, reading) for outcome in outcomes for reading in outcome.readings]
        stored: Stored = {}
        refused: list[Refusal] = []
        expired: list[ExpiredReading] = []
        await asyncio.get_running_loop().run_in_executor(
            self._executor, self._store, rows, stored, refused, expired
        )
        return stored, refused, expired

    def _store(
        self,
        rows: list[tuple[Outcome, Reading]],
        stored: Stored,
        refused: list[Refusal],
        expired: list[ExpiredReading],
    ) -> None:
        if not rows:
            return
        try:
            by_plugin, excess, kept_since = self._in_one_transaction([reading for _, reading in rows])
            expired += [
                ExpiredReading(
                    reading.plugin,
                    reading.hostname,
                    reading.key,
                    reading.observed_at,
                    _reason(outcome.record),
                    kept_since[reading.plugin],
                )
                for outcome, reading in rows
                if reading.observed_at < kept_since[reading.plugin]
            ]
            for plugin, readings in by_plugin.items():
                stored.setdefault(plugin, []).extend(readings)
            if excess:
                over = {id(reading) for reading in excess}
                refused += [self._over_limit(*row) for row in rows if id(row[1]) in over]
            return
        # A plugin may raise any exception, and even call sys.exit().
        except (Exception, SystemExit) as error:
            # Metrics of the transaction that was rolled back may not be stored.
            self._limit.forget()
            if isinstance(error, Exception) and not is_row_error(error):
                raise transient_error(error) from error
            if len(rows) == 1:
                ((outcome, reading),) = rows
                rejected = InvalidRecordError(
                    Reason.REFUSED_BY_DATABASE,
                    _detail(error, reading.plugin),
                    reading.index,
                    reading.plugin,
                    reading.key,
                )
                refused.append(Refusal(outcome, reading, rejected))
                return
        half = len(rows) // 2
        self._store(rows[:half], stored, refused, expired)
        self._store(rows[half:], stored, refused, expired)

    def _over_limit(self, outcome: Outcome, reading: Reading) -> Refusal:
        detail = f"the host has more than {self._max_metrics} metrics in a bucket (aggregates.max_metrics_per_host)"
        error = InvalidRecordError(
            Reason.TOO_MANY_METRICS, detail, reading.index, reading.plugin, reading.key
        )
        return Refusal(outcome, reading, error)

    def _in_one_transaction(self, readings: list[Reading]) -> tuple[Stored, list[Reading], Mapping[str, int]]:
        """Store readings, except those that have expired.

        Returns:
            What was stored, the readings of hosts with too many metrics, and since when readings are kept, by plugin.
        """
        by_plugin: dict[str, list[Reading]] = {}
        stored: Stored = {}
        with self._engine.begin() as connection, reraise_swallowed():
            # In sorted order, so that two workers cannot deadlock; here and below.
            kept_since = {
                name: self._kept_since(connection, name)
                for name in sorted({each.plugin for each in readings})
            }
            readings = [each for each in readings if each.observed_at >= kept_since[each.plugin]]
            excess = self._limit.excess(connection, readings)
            over = {id(reading) for reading in excess}
            for reading in readings:
                if id(reading) not in over:
                    by_plugin.setdefault(reading.plugin, []).append(reading)
            for name in sorted(by_plugin):
                stored[name] = self._store_readings(connection, name, by_plugin[name])
        return stored, excess, kept_since

    def _store_readings(
        self, connection: Connection, name: str, readings: Sequence[Reading]
    ) -> list[StoredReading]:
        try:
            stored: list[Any] = list(self._plugins[name].store_readings(connection, readings))
        except OSError as error:
            # Retried: a file or a server that the plugin uses may come back.
            raise plugin_error(error, name) from error
        for each in stored:
            # Rows of a query may have the same attributes.
            if not isinstance(each, StoredReading) and not all(map(partial(hasattr, each), _ATTRIBUTES)):
                raise InvalidValue(
                    f"expected store_readings of {name} to return StoredReading objects, found"
                    f" {type(each).__name__}"
                )
        return stored

    def _kept_since(self, connection: Connection, plugin: str) -> int:
        """Raises TransientError rather than to drop every reading: one of two clocks is wrong."""
        kept_since = watermarks(connection, plugin, self._bucket_size, lock=True)[READINGS].kept_since
        if kept_since > from_seconds(self._clock()):
            raise TransientError(
                f"retention of {plugin}: expected readings to be kept since a time in the past, found"
                f" {rfc3339(kept_since)}; correct the clock of this machine (docs/runbook.md)"
            )
        return kept_since


def _reason(record: Record) -> ExpiredReason:
    if record.replayed:
        return ExpiredReason.REPLAY
    return ExpiredReason.CLOCK if record.behind else ExpiredReason.LATE


def _detail(error: BaseException, plugin: str) -> str:
    """Why a row was refused. The exception's text is omitted: it may quote the value."""
    if isinstance(error, InvalidValue):
        return str(error)
    if isinstance(error, Exception) and is_of_database(error):
        return f"{type(error).__name__} from the table of {plugin}"
    return f"store_readings or on_inserted of {plugin} raised {type_and_place(error)}"
