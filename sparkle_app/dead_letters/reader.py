"""Reads the dead-letter topic without joining a consumer group."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaTimeoutError

from sparkle_app.config.settings import Settings
from sparkle_app.dead_letters.message import DeadLetter, parse_dead_letter
from sparkle_app.kafka.connection import security_arguments
from sparkle_app.kafka.fetched_batches import accept_any_batch
from sparkle_app.kafka.topology import MAX_MESSAGE_BYTES, dead_letter_topic
from sparkle_app.sealed.cipher import Cipher

_AT_ONCE = 200
"""Messages that are parsed before other tasks run."""
_STALLED_SECONDS = 30.0
"""How long the broker may send nothing: a consumer would wait for ever."""
Position = tuple[int, int]
"""Partition and offset of a message in the dead-letter topic."""


class TooManyDeadLettersError(Exception):
    """There are more dead letters than the caller has memory for."""


class DeadLetterReader:
    """Reads the dead-letter topic up to the end offsets at the time of :func:`open_dead_letters`."""

    def __init__(
        self,
        name: str,
        consumer: AIOKafkaConsumer,
        ends: dict[TopicPartition, int],
        cipher: Cipher | None = None,
    ) -> None:
        self.name = name
        self._consumer = consumer
        self._ends = ends
        self._cipher = cipher

    def __len__(self) -> int:
        """Upper bound of the number of messages, including tombstones, replaced and compacted ones."""
        return sum(self._ends.values())

    @property
    def ends(self) -> dict[int, int]:
        """The end offset of each partition."""
        return {tp.partition: end for tp, end in self._ends.items()}

    async def at(self, position: Position) -> DeadLetter | None:
        """The dead letter at a position; None if it is not there any more."""
        partition, offset = position
        async for found, _, dead_letter in self.messages({**self.ends, partition: offset}):
            return dead_letter if found == position else None
        return None

    async def messages(
        self, starts: Mapping[int, int] | None = None
    ) -> AsyncIterator[tuple[Position, bytes, DeadLetter | None]]:
        """The position, key and dead letter of each message; None instead of a dead letter for a tombstone.

        Messages that the handler did not produce are skipped.

        Arguments:
            starts: offsets to begin at, by partition; None: the beginning of each.

        Raises:
            KafkaTimeoutError: if the broker does not answer any longer.
        """
        consumer, starts = self._consumer, starts or {}
        unread = {tp for tp, end in self._ends.items() if end > starts.get(tp.partition, 0)}
        if not unread:
            return
        consumer.assign(list(unread))
        async with self._in_time():
            await consumer.seek_to_beginning(*unread)
        for tp in unread:
            if start := starts.get(tp.partition):
                consumer.seek(tp, start)
        while unread:
            # In a worker, others use the event loop, too: getmany does not suspend while it has records.
            await asyncio.sleep(0)
            fetched, positions = await self._fetch(unread)
            for tp, records in fetched.items():
                for record in records:
                    if record.offset >= self._ends[tp]:
                        break
                    key = record.key or b""
                    if record.value is None:
                        yield (tp.partition, record.offset), key, None
                        continue
                    try:
                        dead_letter = parse_dead_letter(record.value, dict(record.headers), self._cipher, key)
                    except ValueError:
                        continue
                    yield (tp.partition, record.offset), key, dead_letter
            # Compare positions, because messages that were removed by compaction are never delivered.
            unread = {tp for tp in unread if positions[tp] < self._ends[tp]}

    async def _fetch(
        self, unread: Collection[TopicPartition]
    ) -> tuple[Mapping[TopicPartition, Any], dict[TopicPartition, int]]:
        """The next messages, and the positions after them; they may be empty at the end of a partition.

        Raises:
            KafkaTimeoutError: if the broker does not answer any longer.
        """
        async with self._in_time():
            before = {tp: await self._consumer.position(tp) for tp in unread}
            while True:
                fetched = await self._consumer.getmany(timeout_ms=1000, max_records=_AT_ONCE)
                positions = {tp: await self._consumer.position(tp) for tp in unread}
                if positions != before or any(at >= self._ends[tp] for tp, at in positions.items()):
                    return fetched, positions

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_STALLED_SECONDS):
                yield
        except TimeoutError:
            raise KafkaTimeoutError(f"no message of {self.name} within {_STALLED_SECONDS:g} s") from None

    async def current(self, limit: int | None = None) -> dict[bytes, Position]:
        """The position of the current dead letter of each key, without those that a tombstone deleted.

        Raises:
            TooManyDeadLettersError: if there are more than ``limit``.
            KafkaTimeoutError: if the broker does not answer any longer.
        """
        positions: dict[bytes, Position] = {}
        async for position, key, dead_letter in self.messages():
            if dead_letter:
                positions[key] = position
            else:
                positions.pop(key, None)
            if limit is not None and len(positions) > limit:
                raise TooManyDeadLettersError
        return positions


@asynccontextmanager
async def open_dead_letters(
    settings: Settings, cipher: Cipher | None = None
) -> AsyncIterator[DeadLetterReader]:
    """A reader of the dead-letter topic; it reads nothing if the topic does not exist.

    Arguments:
        cipher: decrypts the causes of the dead letters; None: they are not needed.

    Raises:
        KafkaError: if the broker does not answer.
    """
    name = dead_letter_topic(settings.app_id)
    accept_any_batch()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.broker.url,
        **security_arguments(settings.broker),
        enable_auto_commit=False,
        max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
    )
    try:
        await consumer.start()
        partitions = [TopicPartition(name, number) for number in await _partitions(settings, name)]
        ends = await consumer.end_offsets(partitions) if partitions else {}
        yield DeadLetterReader(name, consumer, ends, cipher)
    finally:
        await consumer.stop()


async def _partitions(settings: Settings, topic: str) -> list[int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker.url, **security_arguments(settings.broker))
    try:
        await admin.start()
        # Lists all topics: a request for one topic by name may create it.
        if topic not in await admin.list_topics():
            return []
        (described,) = await admin.describe_topics([topic])
        return sorted(partition["partition"] for partition in described["partitions"])
    finally:
        await admin.close()
