"""The batching consumer: extends Faust's consumer so that a rebalance skips no record.

It delivers records of plugin topics and changelog topics in record batches (record_batches.py), and keeps the time of
the last heartbeat.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, cast

from aiokafka.errors import (
    CorruptRecordException,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
)
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message
from faust.types.tuples import ConsumerMessage

from sparkle_app.kafka.consumed_logs import ConsumedLogs
from sparkle_app.kafka.consumer_thread import ConsumerThread
from sparkle_app.kafka.expired_records import ExpiredRecords
from sparkle_app.kafka.rebootstrap import rebootstrap
from sparkle_app.kafka.record_batches import RecordBatch, Records, split_records
from sparkle_app.kafka.record_sizes import limited
from sparkle_app.runtime.clock import elapsed
from sparkle_app.runtime.process import exit_process

SESSION_SECONDS = 15
"""The session timeout: without a heartbeat for this time, a worker loses its partitions to others."""
HEARTBEAT_SECONDS = 5
"""The interval of heartbeats."""

logger = logging.getLogger(__name__)


class PartitionLag(NamedTuple):
    """How far a partition has been consumed."""

    topic: str
    partition: int
    committed: int | None
    """The offset from which a restarted worker would continue; None: nothing has been committed yet."""
    end: int | None
    """The end of the log, as the last fetch has seen it; None: nothing has been fetched yet."""


class BatchingConsumer(driver.Consumer):
    """Delivers record batches, and starts a partition without a committed offset at its first record."""

    _thread: ConsumerThread
    transport: "BatchingTransport"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Before the thread is created.
        self.logs = ConsumedLogs()
        super().__init__(*args, **kwargs)
        self._expired = ExpiredRecords(self.transport.count_expired, self._log_starts)
        self._rewound = False

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, self.logs, loop=self.loop, beacon=self.beacon)

    @property
    def last_heartbeat(self) -> float:
        """When the last answered heartbeat was sent, as of :func:`elapsed`; 0 before the first assignment."""
        return self._thread.last_heartbeat

    @property
    def refusal(self) -> str:
        """Why the broker does not accept this worker as a member of the group; empty if it does."""
        return self._thread.refusal

    def in_session(self) -> bool:
        """Whether a heartbeat was answered within the session timeout: the partitions are still this worker's."""
        return elapsed() - self.last_heartbeat < SESSION_SECONDS

    def lag(self, tp: TP) -> PartitionLag:
        """How far a partition has been consumed."""
        return PartitionLag(*tp, self._committed_offset.get(tp), self._thread.known_end(tp))

    async def rejoin(self) -> None:
        """Leave the consumer group and join it again as a new member, so that the generation changes."""
        await self._thread.call_thread(self._thread.leave_group)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Called when partitions have been assigned."""
        self._thread.last_heartbeat = elapsed()
        for tp in filter(self._is_batched, assigned):
            # An acknowledgement from before the rebalance must not be committed now.
            self._acked.pop(tp, None)
        self.logs.clear()
        await super().on_partitions_assigned(assigned, generation_id)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Called after recovery, and whenever Faust discards records that it fetched too early.

        aiokafka seeks only in partitions that have a committed offset. The others would continue after the discarded
        records.
        """
        committed = await super().seek_to_committed()
        offsets = {ensure_TP(tp): at for tp, at in committed.items() if not self._is_changelog_tp(tp)}
        if uncommitted := {tp for tp, offset in offsets.items() if not offset}:
            await self._thread.call_thread(self._thread.seek_to_start, uncommitted)
        await self._expired.compare({tp: offset for tp, offset in offsets.items() if offset})
        return committed

    async def _log_starts(self, partitions: Collection[TP]) -> Mapping[TP, int]:
        return cast("Mapping[TP, int]", await self._thread.call_thread(self._thread.log_starts, partitions))

    async def rewind(self, partitions: Collection[TP]) -> None:
        """Commit the first offsets of these partitions, and nothing else from then on: the worker is about to exit."""
        self._rewound = True
        await self.maybe_wait_for_commit_to_finish()
        earliest = await self.earliest_offsets(*partitions) if partitions else {}
        if earliest:
            await super()._commit({ensure_TP(tp): offset or 0 for tp, offset in earliest.items()})

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return not self._rewound and await super()._commit(offsets)

    async def _getmany(self, *args: Any, **kwargs: Any) -> Any:
        try:
            fetched = await super()._getmany(*args, **kwargs)
        except UnsupportedCodecError as error:
            exit_process(f"a record cannot be read: {error}; install the package cramjam: no record is lost")
        except TopicAuthorizationFailedError as error:
            exit_process(
                f"the broker does not permit to read topics any more: {error}; permit READ on them: no record is lost"
            )
        except CorruptRecordException as error:
            exit_process(
                f"a record cannot be read: {error}; see the broker's log: its disk may be damaged. No record is lost"
            )
        missing = {}
        for tp, records in fetched.items():
            if records and not self._is_changelog_tp(tp):
                self._follow_shorter_log(tp)
                self.logs.consumed(tp, records)
                if gap := self._expired.fetched(tp, records[0].offset, records[-1].offset):
                    missing[tp] = gap
        if missing:
            # Not awaited: Faust takes what this returns after a rebalance for records of the new generation.
            self.add_future(self._expired.report(missing))
        return {
            tp: self._split(tp, records) if self._is_batched(tp) else records
            for tp, records in fetched.items()
        }

    def _split(self, tp: TP, records: Records) -> list[Records]:
        if not self._is_changelog_tp(tp):
            records = [limited(record) for record in records]
        return split_records(records, self.transport.max_batch_records)

    def _follow_shorter_log(self, tp: TP) -> None:
        """Accept records before the committed offset, which Faust would drop, from a log that ends before it.

        The client begins at the start of such a log.
        """
        end, expected = self._thread.known_end(tp), self._read_offset.get(tp)
        if end is None or expected is None or end >= expected:
            return
        self._read_offset[tp] = self._committed_offset[tp] = None
        logger.error(
            "topic %s, partition %d: expected a log with the committed offset %d, found one that ends at %d: the broker"
            " was restored from an older copy, or the log was lost; it is read from its beginning: no reading is stored"
            " twice",
            *tp, expected, end,
        )  # fmt: skip

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if self._is_batched(tp):
            return RecordBatch(tp, record, self.app.consumer_generation_id)
        return super()._to_message(tp, record)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        # Faust would see a gap between the offsets of two record batches, which are those of their last records.
        if not self._is_batched(tp):
            await super()._add_gap(tp, offset_from, offset_to)

    def ack(self, message: Message) -> bool:
        """Called when all work for a message is done.

        The record batches of a partition are acknowledged in order, so the last one implies those before it. One that
        was fetched before a rebalance is ignored: its records are redelivered.
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
        """The offset to commit: the one after the last acknowledged record."""
        if not self._is_batched(tp):
            return super()._new_offset(tp)
        acked = self._acked[tp]
        return acked[-1] + 1 if acked else None

    def _is_batched(self, tp: TP) -> bool:
        return tp.topic in self.transport.batched_topics


class ReconnectingProducer(driver.Producer):
    """Faust's producer, which finds brokers that come back under other addresses."""

    async def on_start(self) -> None:
        """Called when the producer starts."""
        await super().on_start()
        rebootstrap(self._ensure_producer().client)


class BatchingTransport(driver.Transport):
    """Kafka, consumed by :class:`BatchingConsumer`.

    Arguments:
        batched_topics: topics whose records are delivered in record batches.
        max_batch_records: maximum number of records in a record batch.
        count_expired: called with a topic and the number of its records that log retention deleted unread.
    """

    Consumer = BatchingConsumer
    Producer = ReconnectingProducer

    def __init__(
        self,
        *args: Any,
        batched_topics: Collection[str],
        max_batch_records: int,
        count_expired: Callable[[str, int], None],
    ) -> None:
        super().__init__(*args)
        self.count_expired = count_expired
        self.batched_topics = frozenset(batched_topics)
        self.max_batch_records = max_batch_records
