"""Stores the readings of a batch in SQL, through their plugins, in one transaction."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

from sqlalchemy import Engine

from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.reading import Reading, StoredReading
from sparkle_app.model.record import Outcome
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.errors import is_row_error, reraise_swallowed, transient_error

Stored = dict[str, list[StoredReading]]
"""Stored readings by NAME of the plugin."""


class Refusal(NamedTuple):
    """A reading that the database rejects."""

    outcome: Outcome
    reading: Reading
    error: InvalidRecordError


class SqlWriter:
    """Stores readings. If the database rejects a row, the others are stored without it.

    Arguments:
        engine: the database.
        plugins: the server halves of the installed plugins, by NAME.
        executor: threads for database access.
    """

    def __init__(self, engine: Engine, plugins: Mapping[str, Plugin], executor: Executor) -> None:
        self._engine = engine
        self._plugins = plugins
        self._executor = executor

    async def store(self, outcomes: Sequence[Outcome]) -> tuple[Stored, list[Refusal]]:
        """Store the readings of ``outcomes``, which are not changed.

        Returns:
            The stored readings, and those that the database rejects.

        Raises:
            TransientError: if the database does not work at this moment. Some readings may have been stored.
        """
        rows = [(outcome, reading) for outcome in outcomes for reading in outcome.readings]
        stored: Stored = {}
        refused: list[Refusal] = []
        await asyncio.get_running_loop().run_in_executor(self._executor, self._store, rows, stored, refused)
        return stored, refused

    def _store(self, rows: list[tuple[Outcome, Reading]], stored: Stored, refused: list[Refusal]) -> None:
        if not rows:
            return
        try:
            for plugin, readings in self._in_one_transaction([reading for _, reading in rows]).items():
                stored.setdefault(plugin, []).extend(readings)
            return
        except Exception as error:
            if not is_row_error(error):
                raise transient_error(error) from error
            if len(rows) == 1:
                ((outcome, reading),) = rows
                detail = f"{type(error).__name__} from the table of {reading.plugin}"
                rejected = InvalidRecordError(
                    Reason.REFUSED_BY_DATABASE, detail, reading.index, reading.plugin, reading.key
                )
                refused.append(Refusal(outcome, reading, rejected))
                return
        half = len(rows) // 2
        self._store(rows[:half], stored, refused)
        self._store(rows[half:], stored, refused)

    def _in_one_transaction(self, readings: list[Reading]) -> Stored:
        by_plugin: dict[str, list[Reading]] = {}
        for reading in readings:
            by_plugin.setdefault(reading.plugin, []).append(reading)
        stored: Stored = {}
        with self._engine.begin() as connection, reraise_swallowed():
            # In sorted order, so that two workers cannot deadlock.
            for name in sorted(by_plugin):
                stored[name] = list(self._plugins[name].store_readings(connection, by_plugin[name]))
        return stored
