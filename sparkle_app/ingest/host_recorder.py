"""Records in SQL when hosts sent readings, once a minute for each host at most."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial

from sqlalchemy import Engine

from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.time import rfc3339
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.runtime.retry import retry
from sparkle_app.runtime.stages import Stage
from sparkle_app.storage.errors import is_row_error, transient_error
from sparkle_app.storage.hosts import ReturnedHost, record_activity
from sparkle_app.storage.statements import chunks

POLL_SECONDS = 5.0
INTERVAL_SECONDS = 60.0
MAX_HOSTS = 250
"""In one transaction, counted once for each plugin."""
Key = tuple[str, str]
"""Hostname, and NAME of the plugin."""

logger = logging.getLogger(__name__)


class RecentActivity:
    """The activity that is not recorded yet.

    Arguments:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pending: dict[Key, HostActivity] = {}
        self._taken: dict[Key, float] = {}

    def note(self, stored: Mapping[str, Sequence[StoredReading]]) -> None:
        """Take stored readings into account, by NAME of their plugin."""
        for plugin, readings in stored.items():
            for reading in readings:
                received, observed = reading.received_at, reading.observed_at
                activity = self._pending.get((reading.hostname, plugin))
                if activity:
                    activity.add(reading.config_id, received, observed)
                else:
                    self._pending[reading.hostname, plugin] = HostActivity(
                        reading.hostname, plugin, reading.config_id, received, received, observed, observed
                    )

    def take_due(self) -> list[HostActivity]:
        """The activity of hosts of which nothing was taken in the last minute."""
        now = self._clock()
        self._taken = {key: at for key, at in self._taken.items() if now - at < INTERVAL_SECONDS}
        due = [key for key in self._pending if key not in self._taken]
        self._taken |= dict.fromkeys(due, now)
        return [self._pending.pop(key) for key in due]


class HostRecorder:
    """Writes the activity of hosts to SQL, apart from the readings: it delays none of them.

    Arguments:
        executor: threads for database access.
    """

    def __init__(self, engine: Engine, executor: Executor, metrics: Metrics) -> None:
        self.recent = RecentActivity()
        self._engine = engine
        self._executor = executor
        self._metrics = metrics

    async def run(self) -> None:
        """Write as long as the worker runs."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.write_due()

    async def write_due(self) -> None:
        """Write the activity that is due."""
        # In short transactions: readings are stored between them.
        for some in chunks(self.recent.take_due(), MAX_HOSTS):
            for host in await retry(Stage.HOSTS, self._metrics, partial(self._write, some)):
                logger.warning(
                    "host %s, which was removed at %s, sends readings again",
                    host.name,
                    rfc3339(host.removed_at),
                )

    async def _write(self, due: Sequence[HostActivity]) -> list[ReturnedHost]:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._record, due)

    def _record(self, due: Sequence[HostActivity]) -> list[ReturnedHost]:
        """Raises TransientError if the database does not work at this moment."""
        try:
            with self._engine.begin() as connection:
                return record_activity(connection, due)
        except Exception as error:
            if not is_row_error(error):
                raise transient_error(error) from error
            if len(due) == 1:
                logger.error("host %s cannot be recorded: %s", due[0].hostname, error)
                return []
        half = len(due) // 2
        return self._record(due[:half]) + self._record(due[half:])
