"""Faust's consumer, such that it skips no record when partitions change hands."""

from collections.abc import Mapping

from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP


class CarefulConsumer(driver.Consumer):
    """A consumer that goes back to the first record of a partition of which nothing was committed yet."""

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
