"""Topics and logs that are not those that were consumed."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError
from faust.types import TP

from sparkle_app.config.sections import BrokerSettings
from sparkle_app.kafka.consumed_logs import ConsumedLogs, Mark, compare, mark_of
from sparkle_app.kafka.membership import Membership
from sparkle_app.kafka.topic_ids import MISSING
from sparkle_app.worker import topic_watch
from sparkle_app.worker.topic_watch import TopicWatch, watch_topics
from tests.support.fake_clock import FakeClock
from tests.support.memory_broker import MemoryBroker

AT = TP("telemetry", 0)


def test_a_topic_with_another_id_was_created_again() -> None:
    watch = TopicWatch()
    assert watch.poll({"a": "1", "b": "2"}) == (set(), set())
    assert watch.poll({"a": "1", "b": "3"}) == (set(), {"b"})


def test_a_topic_is_missing_if_it_is_missing_twice_in_a_row() -> None:
    watch = TopicWatch()
    assert watch.poll({"a": "1"}) == (set(), set())
    assert watch.poll({"a": MISSING}) == (set(), set())
    assert watch.problem == "missing topics: a"
    assert watch.poll({"a": "1"}) == (set(), set())
    assert watch.problem == ""
    assert watch.poll({"a": MISSING}) == (set(), set())
    assert watch.poll({"a": MISSING}) == ({"a"}, set())


def test_nothing_is_concluded_from_a_broker_without_ids() -> None:
    watch = TopicWatch()
    assert [watch.poll({"a": found}) for found in (None, "1", None, "1")] == [(set(), set())] * 4


async def broker_with(*values: bytes, at: float = 1_700_000_000) -> MemoryBroker:
    broker = MemoryBroker(FakeClock(at))
    await broker.create_topic(AT.topic, 1)
    for value in values:
        await broker.producer().send_and_wait(AT.topic, value, partition=0)
    return broker


async def marks_of(broker: MemoryBroker, *offsets: int) -> dict[TP, list[Mark]]:
    return {AT: [mark_of(broker.records(TopicPartition(*AT))[offset]) for offset in offsets]}


async def replaced(broker: MemoryBroker, marks: dict[TP, list[Mark]]) -> list[str]:
    return list((await compare(broker.consumer(), marks)).values())


async def test_an_unchanged_log_has_the_consumed_records() -> None:
    broker = await broker_with(b"a", b"b", b"c")
    assert await replaced(broker, await marks_of(broker, 0, 2)) == []


async def test_records_that_retention_deleted_prove_nothing() -> None:
    broker = await broker_with(b"a", b"b", b"c")
    marks = await marks_of(broker, 0)
    await broker.delete_records(TopicPartition(*AT), 2)
    assert await replaced(broker, marks) == []


@pytest.mark.parametrize(("log", "found"), [((b"a",), "the end of the log"), ((b"a", b"b", b"x"), "another")])
async def test_a_shorter_or_another_log_was_replaced(log: tuple[bytes, ...], found: str) -> None:
    marks = await marks_of(await broker_with(b"a", b"b", b"c"), 2)
    (text,) = await replaced(await broker_with(*log), marks)
    assert text.startswith(f"the record at offset 2 that was consumed, found {found}")


async def test_equal_values_at_other_times_are_other_records() -> None:
    marks = await marks_of(await broker_with(b"a"), 0)
    assert await replaced(await broker_with(b"a", at=1_700_000_001), marks)


async def test_records_consumed_since_a_connection_was_lost_are_noted_beside_the_last_one_before() -> None:
    broker = await broker_with(b"a", b"b", b"c", b"d")
    records = broker.records(TopicPartition(*AT))
    logs = ConsumedLogs()
    for record in records[:2]:
        logs.consumed(AT, [record])
    logs.lost_connections += 1
    for record in records[2:]:
        logs.consumed(AT, [record])
    assert [mark.offset for mark in logs.marks()[AT]] == [1, 2, 3]
    logs.verified = logs.lost_connections
    logs.consumed(AT, records[3:])
    assert [mark.offset for mark in logs.marks()[AT]] == [3]
    logs.clear()
    assert logs.marks() == {}


async def test_the_watch_goes_on_when_a_client_raises_the_cancellation_of_its_own_tasks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = 0
    polled = asyncio.Event()

    async def connected(_: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise asyncio.CancelledError
        polled.set()
        raise TimeoutError

    monkeypatch.setattr(topic_watch, "_connected", connected)
    monkeypatch.setattr(topic_watch, "POLL_SECONDS", 0.0)
    watch = asyncio.create_task(watch_topics(BrokerSettings(), [], cast(Membership, SimpleNamespace())))
    async with asyncio.timeout(10):
        await polled.wait()
    # A cancellation of the watch itself ends it.
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch


async def test_a_broker_that_sends_nothing_does_not_prove_that_its_log_is_the_same() -> None:
    broker = await broker_with(b"a", b"b", b"c")
    consumer = broker.consumer()

    async def nothing(*_: Any, **__: Any) -> dict[Any, Any]:
        return {}

    consumer.getmany = nothing  # type: ignore[method-assign]
    with pytest.raises(KafkaTimeoutError, match="no record of"):
        await compare(consumer, await marks_of(broker, 2))
