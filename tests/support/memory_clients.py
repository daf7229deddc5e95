"""The clients of a :class:`MemoryBroker`."""

import asyncio
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import OffsetAndMetadata, OffsetAndTimestamp, RecordMetadata

if TYPE_CHECKING:
    from tests.support.memory_broker import MemoryBroker

Record = Any
"""aiokafka's ConsumerRecord, with any types of key and value."""
Partitions = set[TopicPartition]
MAX_BATCH_BYTES = 16_384
"""Maximum size of a producer's batch, as by default in aiokafka."""


class MemoryProducer:
    """The methods of AIOKafkaProducer that the handler uses."""

    def __init__(self, broker: "MemoryBroker") -> None:
        self._broker = broker

    async def start(self) -> None:
        """Does nothing: there is no connection."""

    async def stop(self) -> None:
        """Does nothing: no records are buffered."""

    async def flush(self) -> None:
        """Does nothing: no records are buffered."""

    def create_batch(self) -> BatchBuilder:
        """An empty batch of aiokafka."""
        return BatchBuilder(MAX_BATCH_BYTES, 0)

    async def send_batch(
        self, batch: BatchBuilder, topic: str, *, partition: int
    ) -> asyncio.Future[RecordMetadata]:
        """Append a batch; the future completes when it has been appended."""
        records = MemoryRecords(bytes(batch._build())).next_batch()
        return await self._appended(TopicPartition(topic, partition), list(records or ()))

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Iterable[tuple[str, bytes]] | None = None,
    ) -> asyncio.Future[RecordMetadata]:
        """Append a record; without ``partition``, to the partition of its key."""
        if partition is None:
            numbers = sorted(at.partition for at in self._broker.partitions(topic))
            partition = DefaultPartitioner()(key, numbers, numbers)
        record = SimpleNamespace(key=key, value=value, timestamp=timestamp_ms, headers=headers or ())
        return await self._appended(TopicPartition(topic, partition), [record])

    async def send_and_wait(self, topic: str, value: bytes | None = None, **fields: Any) -> RecordMetadata:
        """As :meth:`send`, but wait for the acknowledgement."""
        return await (await self.send(topic, value, **fields))

    async def _appended(self, at: TopicPartition, records: list[Any]) -> asyncio.Future[RecordMetadata]:
        async def append() -> RecordMetadata:
            if self._broker.before_append:
                await self._broker.before_append(at)
            return self._broker._append(at, records)

        return asyncio.ensure_future(append())


class MemoryConsumer:
    """The methods of AIOKafkaConsumer that the handler and Faust use, with ``auto_offset_reset="earliest"``."""

    _max_poll_records = None

    def __init__(self, broker: "MemoryBroker", topics: Iterable[str], group: str | None) -> None:
        self._broker = broker
        self._group = group
        self._positions: dict[TopicPartition, int | None] = {}
        self._coordinator = SimpleNamespace(generation=-1)
        self.topics = tuple(topics)

    async def start(self) -> None:
        """Join the group, if any."""
        if self._group:
            self._broker._join(self, self._group)

    async def stop(self) -> None:
        """Leave the group, if any."""
        self._broker._leave(self)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Consume these partitions, without a group."""
        self._positions = dict.fromkeys(partitions)

    def assignment(self) -> Partitions:
        """The partitions that this consumer was assigned."""
        return set(self._positions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Fetch from this offset next."""
        self._check_assigned(partition)
        self._positions[partition] = offset

    async def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        """Fetch from the first record next."""
        for at, offset in (await self.beginning_offsets(partitions)).items():
            self.seek(at, offset)

    async def seek_to_committed(self) -> Mapping[TopicPartition, int | None]:
        """Seek to the committed offsets. The position in partitions without one does not change."""
        committed = {at: await self.committed(at) for at in self._positions}
        for at, offset in committed.items():
            if offset:
                self.seek(at, offset)
        return committed

    async def position(self, partition: TopicPartition) -> int:
        """The offset of the next record to fetch."""
        self._check_assigned(partition)
        position = self._positions[partition]
        if position is None and self._group:
            position = await self.committed(partition)
        return self._broker._log(partition).beginning if position is None else position

    def highwater(self, partition: TopicPartition) -> int:
        """The end offset of a partition, as of the last fetch; Faust calls it."""
        self._check_assigned(partition)
        return self._broker._log(partition).end

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Record]]:
        """The next records of the assigned partitions or of ``partitions``, without waiting."""
        await asyncio.sleep(0)
        found: dict[TopicPartition, list[Record]] = {}
        left = max_records
        for at in sorted(partitions or self._positions):
            position, log = await self.position(at), self._broker._log(at)
            if position > log.end:
                position = log.beginning
            records = [record for record in log.records if record.offset >= position][:left]
            if records:
                found[at] = records
            left = None if left is None else left - len(records)
            cut = records and left is not None and not left
            self._positions[at] = records[-1].offset + 1 if cut else max(position, log.end)
            if left == 0:
                break
        return found

    async def commit(self, offsets: Mapping[TopicPartition, int | OffsetAndMetadata]) -> None:
        """Commit the offsets of the next records to process.

        Raises:
            IllegalStateError: if a partition is not assigned.
            CommitFailedError: if the group has a newer generation.
        """
        for at in offsets:
            self._check_assigned(at)
        group = self._broker._groups[self._group or ""]
        if self not in group.members or self._coordinator.generation != group.generation:
            raise CommitFailedError
        for at, offset in offsets.items():
            group.committed[at] = offset.offset if isinstance(offset, OffsetAndMetadata) else offset

    async def committed(self, partition: TopicPartition) -> int | None:
        """The committed offset; None if there is none."""
        return self._broker._groups[self._group or ""].committed.get(partition)

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset of the first retained record."""
        return {at: self._broker._log(at).beginning for at in partitions}

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The end offset: that of the next record to be produced."""
        return {at: self._broker._log(at).end for at in partitions}

    async def offsets_for_times(
        self, times: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """The first record of each partition at or after a timestamp, in milliseconds since the epoch."""
        found: dict[TopicPartition, OffsetAndTimestamp | None] = {}
        for at, when in times.items():
            later = (record for record in self._broker._log(at).records if record.timestamp >= when)
            first = next(later, None)
            found[at] = OffsetAndTimestamp(first.offset, first.timestamp) if first else None
        return found

    def _assigned(self, partitions: Partitions, generation: int) -> None:
        self._positions = dict.fromkeys(partitions)
        self._coordinator.generation = generation

    def _check_assigned(self, partition: TopicPartition) -> None:
        if partition not in self._positions:
            raise IllegalStateError(f"{partition} is not assigned")
