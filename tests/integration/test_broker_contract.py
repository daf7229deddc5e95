"""The in-memory broker of the unit tests behaves as a real one does.

Each test runs with both. `make test` uses the embedded broker as the real one; only `make test-kafka`, with Apache
Kafka, compares consumer groups and their commits, deleted records, transactions, log append time and offsets by
timestamp (the tests marked REAL_ON_KAFKA).
"""

import asyncio
import time
import uuid
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from tests.support.broker import Broker
from tests.support.broker_clients import (
    SECONDS,
    RealBroker,
    assigned,
    consuming,
    fetch,
    nothing_more,
    producing,
    send,
    until,
)
from tests.support.memory_broker import MemoryBroker

FIRST, SECOND = 0, 1
REAL_ON_KAFKA = pytest.mark.parametrize(
    "clients", ["memory", pytest.param("real", marks=pytest.mark.kafka)], indirect=True
)
"""For tests of what the embedded broker does not support, or does too slowly."""


@pytest.fixture(params=["memory", "real"])
def clients(request: pytest.FixtureRequest, broker: Broker) -> Any:
    """The clients of the in-memory broker and of a real one; each test runs with both."""
    if request.param == "memory":
        return MemoryBroker()
    return RealBroker(broker.bootstrap)


@pytest.fixture
async def topic(clients: Any) -> str:
    """A topic with two partitions."""
    name = f"contract-{uuid.uuid4().hex[:8]}"
    await clients.create_topic(name, 2)
    return name


def partitions(topic: str) -> set[TopicPartition]:
    return {TopicPartition(topic, FIRST), TopicPartition(topic, SECOND)}


async def test_each_partition_keeps_the_order_of_its_records(clients: Any, topic: str) -> None:
    async with producing(clients) as producer, consuming(clients) as consumer:
        sent = [
            await producer.send(topic, str(number).encode(), partition=number % 2) for number in range(20)
        ]
        places = await asyncio.gather(*sent)
        assert [(place.partition, place.offset) for place in places] == [(n % 2, n // 2) for n in range(20)]
        consumer.assign(list(partitions(topic)))
        records = await fetch(consumer, 20)
    for partition in (FIRST, SECOND):
        of_one = [record for record in records if record.partition == partition]
        assert [record.offset for record in of_one] == list(range(10))
        assert [int(record.value) for record in of_one] == list(range(partition, 20, 2))


async def test_a_record_is_delivered_with_its_key_value_headers_and_timestamp(
    clients: Any, topic: str
) -> None:
    headers = [("one", b"1"), ("empty", b"")]
    when = int(time.time() * 1000) - 5000
    async with consuming(clients) as consumer:
        await send(clients, topic, FIRST, b"value", key=b"key", headers=headers, timestamp_ms=when)
        await send(clients, topic, FIRST, b"")
        consumer.assign([TopicPartition(topic, FIRST)])
        first, second = await fetch(consumer, 2)
    assert (first.topic, first.partition, first.offset) == (topic, FIRST, 0)
    assert (first.key, first.value, list(first.headers)) == (b"key", b"value", headers)
    assert (first.timestamp, first.timestamp_type) == (when, 0)
    assert (second.key, second.value, list(second.headers)) == (None, b"", [])
    assert abs(second.timestamp - time.time() * 1000) < 60_000


async def test_a_record_without_a_value_is_delivered(clients: Any, topic: str) -> None:
    async with consuming(clients) as consumer:
        await send(clients, topic, FIRST, None, key=b"key")
        consumer.assign([TopicPartition(topic, FIRST)])
        (record,) = await fetch(consumer, 1)
    assert (record.key, record.value) == (b"key", None)


async def test_records_with_the_same_key_share_a_partition_and_keys_are_distributed(
    clients: Any, topic: str
) -> None:
    async with producing(clients) as producer:
        keys = [str(number).encode() for number in range(20)] * 2
        places = [await producer.send_and_wait(topic, b"", key=key) for key in keys]
    assert [place.partition for place in places[:20]] == [place.partition for place in places[20:]]
    assert {place.partition for place in places} == {FIRST, SECOND}


async def test_a_producer_batch_is_appended_as_a_whole_and_reports_when_it_is_full(
    clients: Any, topic: str
) -> None:
    async with producing(clients) as producer, consuming(clients) as consumer:
        batch, number = producer.create_batch(), 0
        while batch.append(key=str(number).encode(), value=b"x" * 1000, timestamp=None):
            number += 1
        assert number == 16
        place = await (await producer.send_batch(batch, topic, partition=SECOND))
        assert (place.partition, place.offset) == (SECOND, 0)
        large = producer.create_batch()
        assert large.append(key=b"tombstone", value=None, timestamp=None)
        assert not large.append(key=b"large", value=b"x" * 20_000, timestamp=None)
        large = producer.create_batch()
        assert large.append(key=b"large", value=b"x" * 20_000, timestamp=None)
        await (await producer.send_batch(large, topic, partition=SECOND))
        consumer.assign([TopicPartition(topic, SECOND)])
        records = await fetch(consumer, number + 1)
    assert [record.key for record in records] == [*(str(n).encode() for n in range(number)), b"large"]
    assert [record.offset for record in records] == list(range(number + 1))
    assert abs(records[0].timestamp - time.time() * 1000) < 60_000


async def test_a_consumer_seeks_and_reports_its_position(clients: Any, topic: str) -> None:
    at = TopicPartition(topic, FIRST)
    async with consuming(clients) as consumer:
        await send(clients, topic, FIRST, b"0", b"1", b"2")
        consumer.assign([at])
        await consumer.seek_to_beginning(at)
        assert await consumer.position(at) == 0
        assert [record.value for record in await fetch(consumer, 3)] == [b"0", b"1", b"2"]
        assert await consumer.position(at) == 3
        assert consumer.highwater(at) == 3
        consumer.seek(at, 1)
        assert [record.value for record in await fetch(consumer, 2)] == [b"1", b"2"]
        assert await nothing_more(consumer)
        with pytest.raises(IllegalStateError):
            consumer.seek(TopicPartition(topic, SECOND), 0)


async def test_getmany_returns_at_most_max_records(clients: Any, topic: str) -> None:
    async with consuming(clients) as consumer:
        await send(clients, topic, FIRST, *(str(number).encode() for number in range(5)))
        consumer.assign([TopicPartition(topic, FIRST)])
        values: list[bytes] = []
        deadline = time.monotonic() + SECONDS
        while len(values) < 5 and time.monotonic() < deadline:
            for records in (await consumer.getmany(timeout_ms=100, max_records=2)).values():
                assert len(records) <= 2
                values += [record.value for record in records]
    assert values == [b"0", b"1", b"2", b"3", b"4"]


@REAL_ON_KAFKA
async def test_a_member_of_a_group_continues_at_the_committed_offset(clients: Any, topic: str) -> None:
    at = TopicPartition(topic, FIRST)
    await send(clients, topic, FIRST, b"0", b"1", b"2")
    async with consuming(clients, topic, group=topic) as consumer:
        assert [record.value for record in await fetch(consumer, 3)] == [b"0", b"1", b"2"]
        assert await consumer.committed(at) is None
        await consumer.commit({at: 2})
        assert await consumer.committed(at) == 2
        # Records that were fetched but not committed are fetched again.
        assert await consumer.seek_to_committed() == {at: 2, TopicPartition(topic, SECOND): None}
        assert [record.value for record in await fetch(consumer, 1)] == [b"2"]
    async with consuming(clients, topic, group=topic) as consumer:
        assert [record.value for record in await fetch(consumer, 1)] == [b"2"]


@REAL_ON_KAFKA
async def test_a_member_begins_at_the_first_record_if_the_log_ends_before_the_committed_offset(
    clients: Any, topic: str
) -> None:
    at = TopicPartition(topic, FIRST)
    await send(clients, topic, FIRST, b"0", b"1")
    async with consuming(clients, topic, group=topic) as consumer:
        assert len(await fetch(consumer, 2)) == 2
        await consumer.commit({at: 5000})
    async with consuming(clients, topic, group=topic) as consumer:
        assert [record.value for record in await fetch(consumer, 2)] == [b"0", b"1"]
        assert consumer.highwater(at) == 2


@REAL_ON_KAFKA
async def test_consumer_groups_are_independent(clients: Any, topic: str) -> None:
    await send(clients, topic, FIRST, b"0")
    async with (
        consuming(clients, topic, group=topic) as one,
        consuming(clients, topic, group=f"{topic}-2") as two,
    ):
        await fetch(one, 1)
        await one.commit({TopicPartition(topic, FIRST): 1})
        assert len(await fetch(two, 1)) == 1
        assert await two.committed(TopicPartition(topic, FIRST)) is None


@REAL_ON_KAFKA
async def test_seeking_to_the_committed_offset_does_not_move_a_partition_without_one(
    clients: Any, topic: str
) -> None:
    await send(clients, topic, FIRST, b"0", b"1")
    async with consuming(clients, topic, group=topic) as consumer:
        await fetch(consumer, 2)
        assert set((await consumer.seek_to_committed()).values()) == {None}
        assert await nothing_more(consumer)
        assert await consumer.position(TopicPartition(topic, FIRST)) == 2


@REAL_ON_KAFKA
async def test_members_share_the_partitions_and_every_rebalance_begins_a_generation(
    clients: Any, topic: str
) -> None:
    async with consuming(clients, topic, group=topic) as first:
        await assigned(first, 2)
        alone = first._coordinator.generation
        async with consuming(clients, topic, group=topic) as second:
            await assigned(first, 1)
            await assigned(second, 1)
            assert first.assignment() | second.assignment() == partitions(topic)
            assert alone < first._coordinator.generation == second._coordinator.generation
            together = second._coordinator.generation
            (at,) = second.assignment()
            with pytest.raises(IllegalStateError):
                await first.commit({at: 1})
            await send(clients, topic, at.partition, b"0")
            await fetch(second, 1)
        # The second member left the group without a commit, so its record is delivered to the first one.
        await assigned(first, 2)
        assert first._coordinator.generation > together
        assert [record.value for record in await fetch(first, 1)] == [b"0"]


@REAL_ON_KAFKA
async def test_a_consumer_that_was_removed_from_its_group_cannot_commit(clients: Any, topic: str) -> None:
    at = TopicPartition(topic, FIRST)
    await send(clients, topic, FIRST, b"0")
    async with consuming(clients, topic, group=topic) as suspended:
        await fetch(suspended, 1)
        await clients.evict(suspended)
        with pytest.raises(CommitFailedError, match=r"already\s+rebalanced"):
            await suspended.commit({at: 1})
        async with consuming(clients, topic, group=topic) as other:
            assert await other.committed(at) is None


@REAL_ON_KAFKA
async def test_records_deleted_by_retention_are_skipped(clients: Any, topic: str) -> None:
    at = TopicPartition(topic, FIRST)
    await send(clients, topic, FIRST, b"0", b"1", b"2")
    await clients.delete_records(at, 2)
    async with consuming(clients, topic, group=topic) as consumer:
        assert [record.value for record in await fetch(consumer, 1)] == [b"2"]
        assert await consumer.beginning_offsets([at]) == {at: 2}
        assert await consumer.end_offsets([at]) == {at: 3}


@REAL_ON_KAFKA
async def test_a_transaction_marker_occupies_an_offset(clients: Any, topic: str) -> None:
    at = TopicPartition(topic, FIRST)
    async with consuming(clients) as consumer:

        async def end() -> int:
            return int((await consumer.end_offsets([at]))[at])

        consumer.assign([at])
        await clients.transaction(at, [b"0", b"1"])
        # A real broker writes the marker slightly later.
        await until(end, 3)
        await send(clients, topic, FIRST, b"3")
        await clients.transaction(at, [b"4"])
        await until(end, 6)
        records = await fetch(consumer, 4)
        assert [(record.offset, record.value) for record in records] == [
            (0, b"0"), (1, b"1"), (3, b"3"), (4, b"4"),
        ]  # fmt: skip
        assert await nothing_more(consumer)
        assert await consumer.position(at) == 6


@REAL_ON_KAFKA
async def test_with_log_append_time_records_get_the_timestamp_of_the_broker(clients: Any, topic: str) -> None:
    await clients.create_topic(f"{topic}-stamped", 1, log_append_time=True)
    await send(clients, f"{topic}-stamped", FIRST, b"old", timestamp_ms=1_000_000)
    async with consuming(clients) as consumer:
        consumer.assign([TopicPartition(f"{topic}-stamped", FIRST)])
        (record,) = await fetch(consumer, 1)
    assert record.timestamp_type == 1
    assert abs(record.timestamp - time.time() * 1000) < 60_000


@REAL_ON_KAFKA
async def test_offsets_for_times_finds_the_first_record_at_or_after_a_timestamp(
    clients: Any, topic: str
) -> None:
    first, second = TopicPartition(topic, FIRST), TopicPartition(topic, SECOND)
    for when in (1000, 2000, 2000, 3000):
        await send(clients, topic, FIRST, b"", timestamp_ms=when)
    async with consuming(clients) as consumer:
        for since, offset in ((0, 0), (1000, 0), (1001, 1), (2000, 1), (3000, 3)):
            found = await consumer.offsets_for_times({first: since, second: since})
            assert found[first].offset == offset
            assert found[second] is None
        assert await consumer.offsets_for_times({first: 3001}) == {first: None}
