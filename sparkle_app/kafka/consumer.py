"""Faust's consumer, such that it skips no record when partitions change hands, and knows when it lost the broker.

Records of plugin topics and of changelogs are delivered in bundles (record_batches.py).
"""

import time
from collections.abc import Collection, Mapping
from typing import Any

from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message
from faust.types.tuples import ConsumerMessage

from sparkle_app.kafka.record_batches import RecordBatch, split_records

SESSION_SECONDS = 15
"""How long the broker waits for a worker's heartbeat before it gives the partitions to others."""


class _Thread(driver.AIOKafkaConsumerThread):
    """The thread that talks to the broker, with the time of the last heartbeat that was answered."""

    last_heartbeat = 0.0

    async def on_start(self) -> None:
        """Called when the thread starts."""
        await super().on_start()
        coordinator = self._ensure_consumer()._coordinator
        heartbeat = coordinator._do_heartbeat

        async def recorded() -> bool:
            if answered := await heartbeat():
                self.last_heartbeat = time.monotonic()
            return bool(answered)

        coordinator._do_heartbeat = recorded


class BatchingConsumer(driver.Consumer):
    """A consumer that goes back to the first record of a partition of which nothing was committed yet."""

    _thread: _Thread
    transport: "BatchingTransport"

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    @property
    def last_heartbeat(self) -> float:
        """When the broker answered last, in monotonic seconds; 0 before it has given partitions."""
        return self._thread.last_heartbeat

    def in_session(self) -> bool:
        """Whether the partitions are surely still this worker's: the broker has answered within the session."""
        return time.monotonic() - self.last_heartbeat < SESSION_SECONDS

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Called when the broker has given partitions."""
        self._thread.last_heartbeat = time.monotonic()
        for tp in filter(self._is_batched, assigned):
            # A late acknowledgement of the time before says nothing about this one.
            self._acked.pop(tp, None)
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

    async def _getmany(self, *args: Any, **kwargs: Any) -> Any:
        fetched = await super()._getmany(*args, **kwargs)
        return {
            tp: split_records(records, self.transport.max_batch_records) if self._is_batched(tp) else records
            for tp, records in fetched.items()
        }

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if self._is_batched(tp):
            return RecordBatch(tp, record, self.app.consumer_generation_id)
        return super()._to_message(tp, record)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        # Faust would take what lies between the last offsets of two bundles for lost.
        if not self._is_batched(tp):
            await super()._add_gap(tp, offset_from, offset_to)

    def ack(self, message: Message) -> bool:
        """Called when all work for a message is done.

        A partition's bundles are acknowledged in order, so the last one stands for all before it. One that was fetched
        before partitions changed hands is left alone: it comes again.
        """
        if not isinstance(message, RecordBatch):
            return bool(super().ack(message))
        message.acked = True
        self._unacked_messages.discard(message)
        if message.generation_id != self.app.consumer_generation_id:
            return False
        self._acked[message.tp] = [message.offset]
        self._n_acked += len(message.records)
        return True

    def _new_offset(self, tp: TP) -> int | None:
        """The offset to commit: the one after the last that was acknowledged."""
        if not self._is_batched(tp):
            return super()._new_offset(tp)
        acked = self._acked[tp]
        return acked[-1] + 1 if acked else None

    def _is_batched(self, tp: TP) -> bool:
        return tp.topic in self.transport.batched_topics


class BatchingTransport(driver.Transport):
    """Kafka, consumed by :class:`BatchingConsumer`.

    Arguments:
        batched_topics: topics whose records are delivered in bundles.
        max_batch_records: the most records in a bundle.
    """

    Consumer = BatchingConsumer

    def __init__(self, *args: Any, batched_topics: Collection[str], max_batch_records: int) -> None:
        super().__init__(*args)
        self.batched_topics = frozenset(batched_topics)
        self.max_batch_records = max_batch_records
