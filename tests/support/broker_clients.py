"""Clients of a real broker with the interface of MemoryBroker, and helpers for tests that use either."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

SECONDS = 20
"""Time limit of the helpers."""


class RealBroker:
    """Creates aiokafka clients of a running broker.

    Arguments:
        bootstrap: ``HOST:PORT``.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    async def create_topic(self, name: str, partitions: int, *, log_append_time: bool = False) -> None:
        """As in MemoryBroker."""
        configs = {"message.timestamp.type": "LogAppendTime"} if log_append_time else {}
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
        finally:
            await admin.close()

    async def delete_records(self, at: TopicPartition, before: int) -> None:
        """As in MemoryBroker."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            await admin.delete_records({at: RecordsToDelete(before_offset=before)})
        finally:
            await admin.close()

    async def transaction(self, at: TopicPartition, values: Iterable[bytes]) -> None:
        """As in MemoryBroker."""
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, transactional_id=f"{at.topic}-tests")
        await producer.start()
        try:
            async with producer.transaction():
                for value in values:
                    await producer.send_and_wait(at.topic, value, partition=at.partition)
        finally:
            await producer.stop()

    def producer(self) -> AIOKafkaProducer:
        """As in MemoryBroker."""
        return AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks="all")

    def consumer(self, *topics: str, group: str | None = None) -> AIOKafkaConsumer:
        """As in MemoryBroker. A member detects a rebalance within 0.1 s."""
        membership: dict[str, Any] = {"group_id": group, "heartbeat_interval_ms": 100} if group else {}
        return AIOKafkaConsumer(
            *topics,
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            **membership,
        )

    async def evict(self, consumer: AIOKafkaConsumer) -> None:
        """As in MemoryBroker: the consumer leaves the group, and then continues as if it were still a member."""
        coordinator = consumer._coordinator
        known = coordinator.generation, coordinator.member_id
        await coordinator._maybe_leave_group()
        coordinator.generation, coordinator.member_id = known


@asynccontextmanager
async def producing(clients: Any) -> AsyncIterator[Any]:
    """A started producer."""
    producer = clients.producer()
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def consuming(clients: Any, *topics: str, group: str | None = None) -> AsyncIterator[Any]:
    """A started consumer."""
    consumer = clients.consumer(*topics, group=group)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def send(clients: Any, topic: str, partition: int, *values: bytes | None, **fields: Any) -> None:
    """Produce values one after the other, and wait for each acknowledgement."""
    async with producing(clients) as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=partition, **fields)


async def fetch(consumer: Any, number: int) -> list[Any]:
    """Fetch exactly ``number`` records."""
    records: list[Any] = []
    deadline = time.monotonic() + SECONDS
    while len(records) < number:
        assert time.monotonic() < deadline, f"only {records}"
        for fetched in (await consumer.getmany(timeout_ms=100)).values():
            records += fetched
    assert len(records) == number
    return records


async def nothing_more(consumer: Any) -> bool:
    """Whether there are no further records for 0.3 s."""
    return not any([await consumer.getmany(timeout_ms=100) for _ in range(3)])


async def until(poll: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    """Poll until the result equals ``wanted``."""
    deadline = time.monotonic() + SECONDS
    while (seen := await poll()) != wanted:
        assert time.monotonic() < deadline, f"expected {wanted}, found {seen}"
        await asyncio.sleep(0.02)


async def assigned(consumer: Any, number: int) -> None:
    """Wait until a consumer has been assigned ``number`` partitions."""

    async def poll() -> int:
        return len(consumer.assignment())

    await until(poll, number)
