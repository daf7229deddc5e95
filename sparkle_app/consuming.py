"""Faust's consumer, such that it skips no record when partitions change hands, and knows when it lost the broker."""

import time
from collections.abc import Mapping

from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

SESSION_SECONDS = 15
"""How long the broker waits for a worker's heartbeat before it gives the partitions to others."""


class _Thread(driver.AIOKafkaConsumerThread):
    """The thread that talks to the broker, with the time of the last heartbeat that was answered."""

    heard_at = 0.0

    async def on_start(self) -> None:
        """Called when the thread starts."""
        await super().on_start()
        coordinator = self._ensure_consumer()._coordinator
        beat = coordinator._do_heartbeat

        async def noted() -> bool:
            if answered := await beat():
                self.heard_at = time.monotonic()
            return bool(answered)

        coordinator._do_heartbeat = noted


class CarefulConsumer(driver.Consumer):
    """A consumer that goes back to the first record of a partition of which nothing was committed yet."""

    _thread: _Thread

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    def in_session(self) -> bool:
        """Whether the partitions are surely still this worker's: the broker has answered within the session."""
        return time.monotonic() - self._thread.heard_at < SESSION_SECONDS

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Called when the broker has given partitions."""
        self._thread.heard_at = time.monotonic()
        await super().on_partitions_assigned(assigned, generation_id)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Called when tables are recovered, and whenever Faust throws away what it fetched too early.

        aiokafka moves only those partitions that have a committed offset: the others would stay behind what was
        thrown away.
        """
        committed = await super().seek_to_committed()
        fresh = {ensure_TP(tp) for tp, offset in committed.items() if not offset}
        if fresh := {tp for tp in fresh if not self._is_changelog_tp(tp)}:
            earliest = await self.earliest_offsets(*fresh)
            await self.seek_wait({tp: offset or 0 for tp, offset in earliest.items()})
        return committed


class CarefulTransport(driver.Transport):
    """Kafka, consumed by :class:`CarefulConsumer`."""

    Consumer = CarefulConsumer
