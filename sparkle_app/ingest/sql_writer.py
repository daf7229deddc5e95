"""Storing a batch of readings in SQL, through each plugin's handler, in one transaction."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

from sqlalchemy import Engine

from sparkle_app.model.errors import BadRecord, Reason
from sparkle_app.plugin_api import Plugin, Reading
from sparkle_app.storage.engine import nothing_swallowed, refuses_row, transient

Stored = tuple[list[Reading], list[tuple[Reading, BadRecord]]]


class ReadingStore:
    """Stores readings; a row that the database refuses is told apart from its neighbours.

    Arguments:
        engine: the database.
        plugins: the server halves of the installed plugins, by NAME.
        executor: the threads that talk to the database.
    """

    def __init__(self, engine: Engine, plugins: Mapping[str, Plugin], executor: Executor) -> None:
        self._engine = engine
        self._plugins = plugins
        self._executor = executor

    async def store(self, readings: Sequence[Reading]) -> Stored:
        """Store readings.

        Returns:
            The readings as SQL holds them now, and those that it refuses.

        Raises:
            TransientFault: when the database does not work right now; then nothing is known to be stored.
        """
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._store, list(readings))

    def _store(self, readings: list[Reading]) -> Stored:
        if not readings:
            return [], []
        try:
            return self._in_one_transaction(readings), []
        except Exception as error:
            if not refuses_row(error):
                raise transient(error) from error
            if len(readings) == 1:
                detail = f"{type(error).__name__} from {readings[0].plugin}'s table"
                return [], [(readings[0], BadRecord(Reason.REFUSED_BY_DATABASE, detail))]
        half = len(readings) // 2
        (stored, refused), (more_stored, more_refused) = (
            self._store(readings[:half]),
            self._store(readings[half:]),
        )
        return stored + more_stored, refused + more_refused

    def _in_one_transaction(self, readings: list[Reading]) -> list[Reading]:
        by_plugin: dict[str, list[Reading]] = {}
        for reading in readings:
            by_plugin.setdefault(reading.plugin, []).append(reading)
        stored: list[Reading] = []
        with self._engine.begin() as connection, nothing_swallowed():
            # Sorted, so that two workers never wait for each other in a circle.
            for name in sorted(by_plugin):
                stored += self._plugins[name].store_readings(connection, by_plugin[name])
        return stored
