"""Reading the dead-letter topic from beside the workers: which letters there are, and how many are new."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from sparkle_app.config.settings import Settings
from sparkle_app.dead_letters.message import DeadLetter, parse_dead_letter
from sparkle_app.kafka.connection import security_arguments
from sparkle_app.kafka.topology import MAX_MESSAGE_BYTES, dead_letter_topic
from sparkle_app.model.time import from_seconds, to_millis

Position = tuple[int, int]
"""Partition and offset of a letter in the dead-letter topic."""


class DeadLetterReader:
    """The dead-letter topic, up to the end that it has when it is opened with :func:`open_dead_letters`."""

    def __init__(self, name: str, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> None:
        self.name = name
        self._consumer = consumer
        self._ends = ends

    def __len__(self) -> int:
        """The messages of the topic, those among them that have been replaced or withdrawn."""
        return sum(self._ends.values())

    async def count_since(self, at: int) -> int:
        """How many letters were sent since a time, in microseconds since the epoch.

        One that was sent more than once is one; a withdrawal is none.
        """
        firsts = await self._consumer.offsets_for_times(dict.fromkeys(self._ends, to_millis(at)))
        starts = {at: first.offset for at, first in firsts.items() if first}
        return len({key async for _, key, letter in self.messages(starts) if letter})

    async def messages(
        self, starts: Mapping[TopicPartition, int] | None = None
    ) -> AsyncIterator[tuple[Position, bytes, DeadLetter | None]]:
        """Messages: where, the letter's key, and the letter; None where it is withdrawn.

        What somebody else wrote to the topic, which is no letter, is left out.

        Arguments:
            starts: from which offset on; nothing of partitions that it does not name. All messages, if left out.
        """
        consumer = self._consumer
        left = {at for at in (self._ends if starts is None else starts) if self._ends[at]}
        if not left:
            return
        consumer.assign(list(left))
        await consumer.seek_to_beginning(*left)
        for at, offset in (starts or {}).items():
            # One that was empty when the ends were asked for may have a first letter since.
            if at in left:
                consumer.seek(at, offset)
        while left:
            for at, records in (await consumer.getmany(timeout_ms=1000)).items():
                for record in records:
                    if record.offset >= self._ends[at]:
                        break
                    key = record.key or b""
                    if record.value is None:
                        yield (at.partition, record.offset), key, None
                        continue
                    try:
                        letter = parse_dead_letter(record.value, dict(record.headers))
                    except ValueError:
                        continue
                    yield (at.partition, record.offset), key, letter
            # By position, since what compaction removed is never delivered.
            for at in list(left):
                if await consumer.position(at) >= self._ends[at]:
                    left.discard(at)

    async def current(self) -> dict[bytes, Position]:
        """The letters that are neither replaced nor withdrawn: where the one of each key is."""
        positions: dict[bytes, Position] = {}
        async for position, key, letter in self.messages():
            if letter:
                positions[key] = position
            else:
                positions.pop(key, None)
        return positions


@asynccontextmanager
async def open_dead_letters(settings: Settings) -> AsyncIterator[DeadLetterReader]:
    """The dead-letter topic; empty where there is none yet.

    Raises:
        KafkaError: when the broker does not answer.
    """
    name = dead_letter_topic(settings.app_id)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.broker.url,
        **security_arguments(settings.broker),
        enable_auto_commit=False,
        max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
    )
    try:
        await consumer.start()
        positions = [TopicPartition(name, number) for number in await _partitions(settings, name)]
        yield DeadLetterReader(name, consumer, await consumer.end_offsets(positions) if positions else {})
    finally:
        await consumer.stop()


async def _partitions(settings: Settings, topic: str) -> list[int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker.url, **security_arguments(settings.broker))
    try:
        await admin.start()
        # Of all topics: to ask for one by name may create it.
        if topic not in await admin.list_topics():
            return []
        (described,) = await admin.describe_topics([topic])
        return sorted(partition["partition"] for partition in described["partitions"])
    finally:
        await admin.close()


async def count_recent_dead_letters(settings: Settings) -> int:
    """Dead letters that any worker sent in the last minute."""
    async with open_dead_letters(settings) as letters:
        return await letters.count_since(from_seconds(time.time() - 60)) if len(letters) else 0
