"""The batching consumer: the record batches it delivers, the offsets it commits, and its positions after a seek."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka import TopicPartition
from faust.types import TP

from sparkle_app.kafka import consumer_thread
from sparkle_app.kafka.consumer import SESSION_SECONDS
from sparkle_app.kafka.record_batches import RecordBatch, in_batches, records_of
from sparkle_app.kafka.streams import batches_of_records
from tests.support.memory_broker import MemoryBroker
from tests.support.memory_clients import MemoryConsumer
from tests.support.memory_faust import MemoryApp, MemoryStream

TOPIC, SINGLE, GROUP = "telemetry", "single", "consumers"
FIRST, SECOND = TP(TOPIC, 0), TP(TOPIC, 1)


@pytest.fixture
async def broker() -> MemoryBroker:
    """A topic that is delivered in record batches, and one that is not."""
    broker = MemoryBroker()
    await broker.create_topic(TOPIC, 2)
    await broker.create_topic(SINGLE, 1)
    return broker


async def joined(broker: MemoryBroker, *topics: str) -> MemoryApp:
    app = MemoryApp(broker, GROUP, topics or [TOPIC], [TOPIC], max_batch_records=3)
    await app.join()
    return app


async def produce(broker: MemoryBroker, number: int, at: TP = FIRST) -> None:
    for value in range(number):
        await broker.producer().send_and_wait(at.topic, str(value).encode(), partition=at.partition)


async def fetch(app: MemoryApp) -> list[tuple[TP, list[int]]]:
    """The partition, and the offsets of the records, of each record batch that can be fetched now."""
    return [
        (message.tp, [record.offset for record in message.records])
        for message in [message async for _, message in app.batching.getmany(timeout=0)]
        if isinstance(message, RecordBatch)
    ]


async def messages(app: MemoryApp) -> list[RecordBatch]:
    return [message async for _, message in app.batching.getmany(timeout=0)]  # type: ignore[misc]


async def reported(app: MemoryApp) -> None:
    """Wait until the consumer has reported the gaps that it has found."""
    await asyncio.gather(*app.batching._futures)


async def committed(broker: MemoryBroker, at: TP = FIRST) -> int | None:
    return broker._groups[GROUP].committed.get(TopicPartition(*at))


async def test_records_of_a_partition_are_delivered_in_order_in_record_batches(broker: MemoryBroker) -> None:
    await produce(broker, 7)
    await produce(broker, 2, SECOND)
    found = await fetch(await joined(broker))
    assert [offsets for tp, offsets in found if tp == FIRST] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [offsets for tp, offsets in found if tp == SECOND] == [[0, 1]]


async def test_records_of_other_topics_are_delivered_individually(broker: MemoryBroker) -> None:
    await produce(broker, 2, TP(SINGLE, 0))
    app = await joined(broker, SINGLE)
    assert [(each.offset, each.value) for each in await messages(app)] == [(0, b"0"), (1, b"1")]


async def test_the_offset_after_the_last_acknowledged_record_is_committed(broker: MemoryBroker) -> None:
    await produce(broker, 7)
    app = await joined(broker)
    first, second, third = await messages(app)
    assert first.ack(app.consumer)
    await app.batching.commit()
    assert await committed(broker) == 3
    second.ack(app.consumer)
    third.ack(app.consumer)
    await app.batching.commit()
    assert await committed(broker) == 7
    assert await committed(broker, SECOND) is None


async def test_records_that_were_not_acknowledged_are_not_committed(broker: MemoryBroker) -> None:
    await produce(broker, 7)
    app = await joined(broker)
    await fetch(app)
    assert not await app.batching.commit()
    assert await committed(broker) is None


async def test_offsets_of_transaction_markers_do_not_delay_the_commit(broker: MemoryBroker) -> None:
    for _ in range(3):
        await broker.transaction(TopicPartition(*FIRST), [b"0"])
    app = await joined(broker)
    (batch,) = await messages(app)
    assert [record.offset for record in batch.records] == [0, 2, 4]
    batch.ack(app.consumer)
    await app.batching.commit()
    assert await committed(broker) == 5


@pytest.mark.parametrize(("deleted", "again"), [(0, [[0, 1, 2], [3]]), (2, [[2, 3]])])
async def test_after_a_rebalance_a_partition_without_a_committed_offset_is_read_from_its_beginning(
    broker: MemoryBroker, deleted: int, again: list[list[int]]
) -> None:
    await produce(broker, 4)
    await produce(broker, 3, SECOND)
    await broker.delete_records(TopicPartition(*FIRST), deleted)
    app = await joined(broker)
    second = [batch for batch in await messages(app) if batch.tp == SECOND]
    second[0].ack(app.consumer)
    await app.batching.commit()
    broker.rebalance(GROUP)
    await app.rebalance()
    assert await fetch(app) == [(FIRST, offsets) for offsets in again]


async def test_after_a_seek_uncommitted_records_are_fetched_again(broker: MemoryBroker) -> None:
    """Faust seeks to the committed offsets after the recovery of tables, even without a rebalance."""
    await produce(broker, 3)
    app = await joined(broker)
    assert await fetch(app) == [(FIRST, [0, 1, 2])]
    await app.batching.perform_seek()
    (batch,) = await messages(app)
    assert [record.offset for record in batch.records] == [0, 1, 2]
    batch.ack(app.consumer)
    await app.batching.commit()
    await produce(broker, 1)
    await app.batching.perform_seek()
    assert await fetch(app) == [(FIRST, [3])]


async def test_an_acknowledgement_of_an_earlier_generation_commits_nothing(broker: MemoryBroker) -> None:
    await produce(broker, 6)
    app = await joined(broker)
    acknowledged, late = await messages(app)
    acknowledged.ack(app.consumer)
    broker.rebalance(GROUP)
    await app.rebalance()
    # Neither the acknowledgement before the rebalance, which was not committed yet, nor a later one.
    assert not late.ack(app.consumer)
    await app.batching.commit()
    assert await committed(broker) is None
    redelivered, _ = await messages(app)
    assert redelivered.ack(app.consumer)
    await app.batching.commit()
    assert await committed(broker) == 3


async def test_records_that_one_worker_did_not_commit_are_delivered_to_the_next(broker: MemoryBroker) -> None:
    await produce(broker, 6)
    app = await joined(broker)
    (await messages(app))[0].ack(app.consumer)
    await app.batching.commit()
    await broker.evict(app.connection)
    assert await fetch(await joined(broker)) == [(FIRST, [3, 4, 5])]


async def test_a_batch_of_a_stream_has_a_maximum_number_of_records(broker: MemoryBroker) -> None:
    await produce(broker, 11)
    app = await joined(broker)
    stream = MemoryStream(app)
    found = []
    async for events in batches_of_records(stream.stream, lambda: 6, 0.0):
        found.append([record.offset for event in events for record in records_of(event)])
        for event in events:
            await stream.ack(event)
    assert found == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]
    await app.batching.commit()
    assert await committed(broker) == 11


async def test_a_message_that_is_not_a_record_batch_is_an_error(broker: MemoryBroker) -> None:
    await produce(broker, 1, TP(SINGLE, 0))
    stream = MemoryStream(await joined(broker, SINGLE))
    async for events in stream.noack_take(10, 0.0):
        with pytest.raises(AssertionError, match=f"found a message of {SINGLE}"):
            list(in_batches(events, lambda: 10))


async def test_a_session_lasts_for_the_session_timeout_after_the_last_heartbeat(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("sparkle_app.kafka.consumer.elapsed", lambda: now)
    app = MemoryApp(broker, GROUP, [TOPIC], [TOPIC])
    assert app.batching.last_heartbeat == 0
    await app.join()
    assert app.batching.last_heartbeat == now
    now += SESSION_SECONDS - 0.01
    assert app.batching.in_session()
    now += 0.01
    assert not app.batching.in_session()
    await app.rebalance()
    assert app.batching.in_session()


async def test_a_log_that_ends_before_the_committed_offset_is_read_from_its_beginning(
    broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    """Its disk was lost, or restored, while the committed offsets were not."""
    await produce(broker, 4)
    app = await joined(broker)
    await app.connection.commit({TopicPartition(*FIRST): 5000})
    await app.rebalance()
    assert [offsets for _, offsets in await fetch(app)] == [[0, 1, 2], [3]]
    assert (
        "expected a log with the committed offset 5000, found one that ends at 4: the broker was restored"
        in caplog.text
    )
    await produce(broker, 1)
    (last,) = await messages(app)
    last.ack(app.consumer)
    await app.batching.commit()
    assert await app.connection.committed(TopicPartition(*FIRST)) == 5


async def test_partitions_without_a_leader_do_not_delay_the_others(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(*_: TopicPartition) -> None:
        await asyncio.Event().wait()

    await produce(broker, 4)
    app = await joined(broker)
    (first, _) = await messages(app)
    first.ack(app.consumer)
    await app.batching.commit()
    # One partition with a committed offset, and one without.
    monkeypatch.setattr(consumer_thread, "_LOG_STARTS_SECONDS", 0.01)
    monkeypatch.setattr(app.connection, "beginning_offsets", wait)
    async with asyncio.timeout(5):
        await app.batching.perform_seek()
    assert await fetch(app) == [(FIRST, [3])]


async def test_records_that_retention_deleted_before_they_were_read_are_counted_once(
    broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    await produce(broker, 4)
    app = await joined(broker)
    (first, _) = await messages(app)
    first.ack(app.consumer)
    await app.batching.commit()
    await app.connection.stop()
    await produce(broker, 6)
    # A worker that comes back late: offset 3 is committed.
    await broker.delete_records(TopicPartition(*FIRST), 5)
    again = await joined(broker)
    await again.batching.perform_seek()
    assert again.expired == {TOPIC: 2}
    assert "partition 0: Kafka deleted 2 records (offsets 3 to 4) before the worker read them" in caplog.text
    assert [offsets for _, offsets in await fetch(again)] == [[5, 6, 7], [8, 9]]
    # While it runs.
    await produce(broker, 5)
    await broker.delete_records(TopicPartition(*FIRST), 12)
    assert [offsets for _, offsets in await fetch(again)] == [[12, 13, 14]]
    await reported(again)
    assert again.expired == {TOPIC: 4}


async def test_a_fetch_does_not_wait_for_where_the_log_begins(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust would take its records for those of the generation in which it returns, and skip those before them."""
    answers = asyncio.Event()
    beginning_offsets = MemoryConsumer.beginning_offsets

    async def wait(connection: MemoryConsumer, partitions: Iterable[TopicPartition]) -> Any:
        await answers.wait()
        return await beginning_offsets(connection, partitions)

    await produce(broker, 2)
    app = await joined(broker)
    await fetch(app)
    await produce(broker, 5)
    await produce(broker, 1, SECOND)
    await broker.delete_records(TopicPartition(*FIRST), 4)
    monkeypatch.setattr(MemoryConsumer, "beginning_offsets", wait)
    async with asyncio.timeout(2):
        assert await fetch(app) == [(FIRST, [4, 5, 6]), (SECOND, [0])]
    await broker.delete_records(TopicPartition(*FIRST), 6)
    answers.set()
    await reported(app)
    # Those at offsets 2 and 3; the next ones were fetched before they were deleted.
    assert app.expired == {TOPIC: 2}


async def test_offsets_of_transactions_are_no_expired_records(broker: MemoryBroker) -> None:
    app = await joined(broker)
    for _ in range(3):
        await broker.transaction(TopicPartition(*FIRST), [b"0"])
        assert await fetch(app)
    await reported(app)
    assert app.expired == {}
