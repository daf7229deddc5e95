"""Records in SQL when hosts sent readings, once a minute for each host at most."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor

from sqlalchemy import Engine

from sparkle_app.model.errors import TransientError
from sparkle_app.model.host_activity import HostActivity, merged
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.time import from_seconds, rfc3339
from sparkle_app.runtime.failure_log import FailureLog
from sparkle_app.storage.errors import is_row_error, transient_error
from sparkle_app.storage.hosts import ReturnedHost, record_activity
from sparkle_app.storage.statements import chunks

POLL_SECONDS = 5.0
INTERVAL_SECONDS = 60.0
MAX_HOSTS = 250
"""In one transaction, counted once for each plugin: readings are stored between the transactions."""
_NONE: Mapping[bytes, int] = {}
Key = tuple[str, str]
"""Hostname, and NAME of the plugin."""

logger = logging.getLogger(__name__)


class RecentActivity:
    """The activity that is not recorded yet.

    Arguments:
        wall: seconds since the epoch. No reading was received later: Kafka's timestamp may be that of a host.
        clock: seconds, monotonic.
    """

    def __init__(self, wall: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._clock = clock
        self._pending: dict[Key, HostActivity] = {}
        # In the order in which they were taken.
        self._taken: dict[Key, float] = {}

    def note(
        self, stored: Mapping[str, Sequence[StoredReading]], clock_offsets: Mapping[bytes, int] = _NONE
    ) -> None:
        """Take stored readings into account, by NAME of their plugin.

        Arguments:
            clock_offsets: by id of the reading, of those whose clock is not trusted, microseconds.
        """
        now = from_seconds(self._wall())
        for plugin, readings in stored.items():
            for reading in readings:
                received = reading.received_at if reading.received_at < now else now
                observed = reading.observed_at if reading.observed_at < now else now
                activity = self._pending.get((reading.hostname, plugin))
                offset = clock_offsets.get(reading.id)
                if activity:
                    activity.add(reading.config_id, received, observed, offset)
                else:
                    self._pending[reading.hostname, plugin] = HostActivity(
                        reading.hostname,
                        plugin,
                        reading.config_id,
                        received,
                        received,
                        observed,
                        observed,
                        clock_offset=offset,
                    )

    def take_due(self) -> list[HostActivity]:
        """The activity of hosts of which nothing was taken in the last minute."""
        now = self._clock()
        while self._taken and now - next(iter(self._taken.values())) >= INTERVAL_SECONDS:
            del self._taken[next(iter(self._taken))]
        due = [key for key in self._pending if key not in self._taken]
        self._taken |= dict.fromkeys(due, now)
        return [self._pending.pop(key) for key in due]

    def take_all(self) -> list[HostActivity]:
        """All of it."""
        taken, self._pending = list(self._pending.values()), {}
        return taken

    def put_back(self, activities: Sequence[HostActivity]) -> None:
        """Activity that was taken and could not be recorded."""
        for activity in activities:
            key = activity.hostname, activity.plugin
            later = self._pending.get(key)
            self._pending[key] = merged(activity, later) if later else activity
            self._pending[key].interval = None
            self._taken.pop(key, None)


class HostRecorder:
    """Writes the activity of hosts to SQL, apart from the readings: it delays none of them.

    Arguments:
        executor: threads for database access.
        wall: seconds since the epoch.
    """

    def __init__(self, engine: Engine, executor: Executor, wall: Callable[[], float]) -> None:
        self.recent = RecentActivity(wall)
        self._wall = wall
        self._engine = engine
        self._executor = executor
        self._failure = FailureLog(logger, "cannot record hosts, will retry")

    async def run(self) -> None:
        """Write as long as the worker runs."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.write(self.recent.take_due())

    async def write_all(self) -> None:
        """Write the rest, before the worker ends."""
        await self.write(self.recent.take_all())

    async def write(self, activities: Sequence[HostActivity]) -> None:
        """Write activity; if the database does not work at this moment, it is put back. Never raises."""
        loop = asyncio.get_running_loop()
        groups = list(chunks(activities, MAX_HOSTS))
        try:
            while groups:
                for host in await loop.run_in_executor(self._executor, self._record, groups[0]):
                    logger.warning(
                        "host %s, which was removed at %s, sends readings of %s again",
                        host.name,
                        rfc3339(host.removed_at),
                        host.plugin,
                    )
                del groups[0]
                self._failure.succeeded()
        except TransientError as error:
            self._failure.failed(error)
        finally:
            # Also of a write that was cancelled.
            for group in groups:
                self.recent.put_back(group)

    def _record(self, activities: Sequence[HostActivity]) -> list[ReturnedHost]:
        """Raises TransientError if the database does not work at this moment."""
        try:
            return record_activity(self._engine, activities, from_seconds(self._wall()))
        except Exception as error:
            if not is_row_error(error):
                raise transient_error(error) from error
            if len(activities) == 1:
                logger.error("host %s cannot be recorded: %s", activities[0].hostname, error)
                return []
        half = len(activities) // 2
        return self._record(activities[:half]) + self._record(activities[half:])
