"""Producing dead letters to their topic, and reading it."""

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError, NotEnoughReplicasError

from sparkle_app.dead_letters import reader as reading
from sparkle_app.dead_letters.message import Cause, dead_letter_key
from sparkle_app.dead_letters.publisher import DeadLetterPublisher
from sparkle_app.dead_letters.reader import DeadLetterReader
from sparkle_app.model.errors import InvalidRecordError, Reason, TransientError
from sparkle_app.model.reading import Reading
from sparkle_app.model.record import Outcome, Record, Rejection
from sparkle_app.runtime.cause_limit import CauseLimit
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.sealed.cipher import Cipher
from tests.support.fake_clock import FakeClock
from tests.support.memory_broker import MemoryBroker
from tests.support.memory_faust import MemoryApp

TOPIC = "dead-letters"
CIPHER = Cipher(b"k" * 32)
SECOND = 1_000_000
NOW = 1_700_000_000


class DeadLetterTopic:
    """The dead-letter topic, with a publisher and readers."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.broker = MemoryBroker(self.clock)
        self.metrics = Metrics()
        publisher = MemoryApp(self.broker, "dead-letters").publisher(TOPIC)
        self.publisher = DeadLetterPublisher(publisher, CauseLimit(1000), self.metrics, CIPHER)

    async def reader(self) -> DeadLetterReader:
        consumer = self.broker.consumer()
        ends = await consumer.end_offsets(self.broker.partitions(TOPIC))
        return DeadLetterReader(TOPIC, consumer, ends, CIPHER)

    async def send(self, *offsets: int, index: int | None = None, reason: Reason = Reason.NOT_JSON) -> None:
        error = InvalidRecordError(reason, "expected something else", index)
        await self.publisher.send([Rejection(record(offset), error) for offset in offsets])

    async def current(self) -> set[bytes]:
        return set(await (await self.reader()).current())

    def counted(self, reason: Reason) -> float | None:
        return self.metrics.registry.get_sample_value("sparkle_dead_letters_total", {"reason": reason})


@pytest.fixture
async def topic() -> DeadLetterTopic:
    """An empty dead-letter topic with three partitions."""
    topic = DeadLetterTopic()
    await topic.broker.create_topic(TOPIC, 3)
    return topic


def record(offset: int) -> Record:
    return Record("telemetry", 1, offset, (NOW - 3600) * SECOND, b"value %d" % offset)


def replayed(offset: int, good: tuple[int | None, ...], bad: tuple[int, ...] = ()) -> Outcome:
    fields: tuple[int, str, str, str, float, int, int, bool] = (1, "host", "P", "k", 1.0, 0, 0, True)
    readings = [Reading(bytes(16), *fields, "telemetry", 1, offset, index=index) for index in good]
    errors = [InvalidRecordError(Reason.INVALID_VALUE, "expected a number", index) for index in bad]
    return Outcome(record(offset), readings, errors)


async def test_a_dead_letter_is_read_with_its_reason_and_position(topic: DeadLetterTopic) -> None:
    await topic.send(7)
    await topic.send(8, index=2, reason=Reason.INVALID_VALUE)
    reader = await topic.reader()
    assert len(reader) == 2
    found = {key: dead_letter async for _, key, dead_letter in reader.messages()}
    whole, part = found[dead_letter_key(record(7))], found[dead_letter_key(record(8), 2)]
    assert whole
    assert part
    assert (whole.record, whole.reason, whole.index, whole.whole) == (record(7), Reason.NOT_JSON, None, True)
    assert (part.record, part.reason, part.index) == (record(8), Reason.INVALID_VALUE, 2)
    assert whole.cause == Cause("expected something else")
    assert (topic.counted(Reason.NOT_JSON), topic.counted(Reason.INVALID_VALUE)) == (1, 1)


async def test_a_dead_letter_replaces_the_earlier_one_of_its_record(topic: DeadLetterTopic) -> None:
    await topic.send(7, 8)
    await topic.send(7, reason=Reason.BAD_FIELD)
    assert len(await topic.reader()) == 3
    reader = await topic.reader()
    positions = await reader.current()
    assert set(positions) == {dead_letter_key(record(7)), dead_letter_key(record(8))}
    found = {at: dead_letter async for at, _, dead_letter in reader.messages()}
    dead_letter = found[positions[dead_letter_key(record(7))]]
    assert dead_letter
    assert dead_letter.reason == Reason.BAD_FIELD


async def test_only_resolved_dead_letters_of_a_record_are_deleted(topic: DeadLetterTopic) -> None:
    await topic.send(7)
    for index in (0, 1, 2):
        await topic.send(8, index=index)
    await topic.publisher.delete_resolved([replayed(7, (None,)), replayed(8, (0, 2), bad=(1,))])
    assert await topic.current() == {dead_letter_key(record(8), 1)}
    deleted = [key async for _, key, dead_letter in (await topic.reader()).messages() if dead_letter is None]
    assert dead_letter_key(record(7)) in deleted


async def test_dead_letters_produced_after_the_reader_was_opened_are_not_read(topic: DeadLetterTopic) -> None:
    await topic.send(*range(10))
    reader = await topic.reader()
    await topic.send(*range(10, 40))
    assert set(await reader.current()) == {dead_letter_key(record(offset)) for offset in range(10)}


async def test_an_empty_topic_has_no_dead_letters(topic: DeadLetterTopic) -> None:
    reader = await topic.reader()
    assert (len(reader), await reader.current()) == (0, {})


async def test_a_partition_that_ends_with_a_transaction_marker_is_read_to_its_end(
    topic: DeadLetterTopic,
) -> None:
    await topic.send(1)
    for at in topic.broker.partitions(TOPIC):
        await topic.broker.transaction(at, [])
    assert await topic.current() == {dead_letter_key(record(1))}


async def test_other_messages_in_the_topic_are_skipped(topic: DeadLetterTopic) -> None:
    producer = topic.broker.producer()
    await producer.send_and_wait(TOPIC, b"something", key=b"telemetry/1/7")
    await producer.send_and_wait(TOPIC, b"something", headers=[("sparkle-reason", b"nonsense")])
    await topic.send(7)
    assert await topic.current() == {dead_letter_key(record(7))}


async def test_a_missing_acknowledgement_is_a_transient_error_and_no_dead_letter_is_counted(
    topic: DeadLetterTopic,
) -> None:
    async def refuse(at: TopicPartition) -> None:
        raise NotEnoughReplicasError

    topic.broker.before_append = refuse
    with pytest.raises(TransientError):
        await topic.send(7)
    with pytest.raises(TransientError):
        await topic.publisher.delete_resolved([replayed(7, (None,))])
    assert topic.counted(Reason.NOT_JSON) == 0


async def test_a_reader_begins_where_another_has_ended(topic: DeadLetterTopic) -> None:
    await topic.send(*range(5))
    first = await topic.reader()
    seen = {position async for position, _, _ in first.messages()}
    assert len(seen) == 5
    await topic.send(5, 6)
    second = await topic.reader()
    found = {position: dead_letter async for position, _, dead_letter in second.messages(first.ends)}
    assert {each.record.offset for each in found.values() if each} == {5, 6}
    assert not seen & found.keys()
    for position, dead_letter in found.items():
        assert await (await topic.reader()).at(position) == dead_letter
    partition = next(iter(second.ends))
    assert await (await topic.reader()).at((partition, second.ends[partition])) is None
    assert [each async for each in second.messages(second.ends)] == []


async def test_a_broker_that_goes_away_while_its_messages_are_read_is_an_error(
    topic: DeadLetterTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_STALLED_SECONDS", 0.2)
    monkeypatch.setattr(reading, "_AT_ONCE", 2)
    await topic.send(*range(5))
    reader = await topic.reader()
    getmany, left = reader._consumer.getmany, 2

    async def stalled(**arguments: Any) -> Any:
        nonlocal left
        if not left:
            await asyncio.sleep(0.01)
            return {}
        left -= 1
        return await getmany(**arguments)

    reader._consumer.getmany = stalled
    seen = []

    async def read() -> None:
        async for position, _, _ in reader.messages():
            seen.append(position)
            # The time that the caller takes does not count.
            await asyncio.sleep(0.15)

    async with asyncio.timeout(10):
        with pytest.raises(KafkaTimeoutError, match=f"no message of {TOPIC} within 0.2 s"):
            await read()
    assert len(seen) == 4
