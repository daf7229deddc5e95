"""Dead letters written to a topic, and read from it."""

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import NotEnoughReplicasError

from sparkle_app.dead_letters.copy_limit import CopyLimit
from sparkle_app.dead_letters.message import Cause, dead_letter_key
from sparkle_app.dead_letters.publisher import DeadLetterPublisher
from sparkle_app.dead_letters.reader import DeadLetterReader
from sparkle_app.model.errors import InvalidRecordError, Reason, TransientError
from sparkle_app.model.reading import Reading
from sparkle_app.model.record import Outcome, Record, Rejection
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.sealed.cipher import Cipher
from tests.support.fake_clock import FakeClock
from tests.support.memory_broker import MemoryBroker
from tests.support.memory_faust import MemoryApp

TOPIC = "dead-letters"
CIPHER = Cipher(b"k" * 32)
SECOND = 1_000_000
NOW = 1_700_000_000


class Letters:
    """The topic, a publisher, and a reader."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.broker = MemoryBroker(self.clock)
        self.metrics = Metrics()
        publisher = MemoryApp(self.broker, "letters").publisher(TOPIC)
        self.publisher = DeadLetterPublisher(publisher, CopyLimit(1000), self.metrics, CIPHER)

    async def reader(self) -> DeadLetterReader:
        consumer = self.broker.consumer()
        ends = await consumer.end_offsets(self.broker.partitions(TOPIC))
        return DeadLetterReader(TOPIC, consumer, ends, CIPHER)

    async def send(self, *offsets: int, index: int | None = None, reason: Reason = Reason.NOT_JSON) -> None:
        bad = InvalidRecordError(reason, "expected something else", index)
        await self.publisher.send([Rejection(record(offset), bad) for offset in offsets])

    async def current(self) -> set[bytes]:
        return set(await (await self.reader()).current())

    def counted(self, reason: Reason) -> float | None:
        return self.metrics.registry.get_sample_value("sparkle_dead_letters_total", {"reason": reason})


@pytest.fixture
async def letters() -> Letters:
    """An empty topic of three partitions."""
    letters = Letters()
    await letters.broker.create_topic(TOPIC, 3)
    return letters


def record(offset: int) -> Record:
    return Record("telemetry", 1, offset, (NOW - 3600) * SECOND, b"value %d" % offset)


def replayed(offset: int, good: tuple[int | None, ...], bad: tuple[int, ...] = ()) -> Outcome:
    fields: tuple[int, str, str, str, float, int, int, bool] = (1, "host", "P", "k", 1.0, 0, 0, True)
    readings = [Reading(bytes(16), *fields, "telemetry", 1, offset, index=index) for index in good]
    errors = [InvalidRecordError(Reason.INVALID_VALUE, "expected a number", index) for index in bad]
    return Outcome(record(offset), readings, errors)


async def test_what_was_sent_is_read_with_its_reason_and_place(letters: Letters) -> None:
    await letters.send(7)
    await letters.send(8, index=2, reason=Reason.INVALID_VALUE)
    reader = await letters.reader()
    assert len(reader) == 2
    found = {key: letter async for _, key, letter in reader.messages()}
    whole, part = found[dead_letter_key(record(7))], found[dead_letter_key(record(8), 2)]
    assert whole
    assert part
    assert (whole.record, whole.reason, whole.index, whole.whole) == (record(7), Reason.NOT_JSON, None, True)
    assert (part.record, part.reason, part.index) == (record(8), Reason.INVALID_VALUE, 2)
    assert whole.cause == Cause("expected something else")
    assert (letters.counted(Reason.NOT_JSON), letters.counted(Reason.INVALID_VALUE)) == (1, 1)


async def test_a_letter_that_is_sent_again_replaces_itself(letters: Letters) -> None:
    await letters.send(7, 8)
    await letters.send(7, reason=Reason.BAD_FIELD)
    assert len(await letters.reader()) == 3
    reader = await letters.reader()
    positions = await reader.current()
    assert set(positions) == {dead_letter_key(record(7)), dead_letter_key(record(8))}
    found = {at: letter async for at, _, letter in reader.messages()}
    letter = found[positions[dead_letter_key(record(7))]]
    assert letter
    assert letter.reason == Reason.BAD_FIELD


async def test_a_resolved_letter_is_deleted_and_others_of_its_record_stay(letters: Letters) -> None:
    await letters.send(7)
    for index in (0, 1, 2):
        await letters.send(8, index=index)
    await letters.publisher.delete_resolved([replayed(7, (None,)), replayed(8, (0, 2), bad=(1,))])
    assert await letters.current() == {dead_letter_key(record(8), 1)}
    deleted = [key async for _, key, letter in (await letters.reader()).messages() if letter is None]
    assert dead_letter_key(record(7)) in deleted


async def test_what_comes_after_the_reader_was_opened_is_left_out(letters: Letters) -> None:
    await letters.send(*range(10))
    reader = await letters.reader()
    await letters.send(*range(10, 40))
    assert set(await reader.current()) == {dead_letter_key(record(offset)) for offset in range(10)}


async def test_an_empty_topic_has_no_letters(letters: Letters) -> None:
    reader = await letters.reader()
    assert (len(reader), await reader.current()) == (0, {})


async def test_a_partition_that_ends_with_an_offset_without_a_record_is_read_to_its_end(
    letters: Letters,
) -> None:
    await letters.send(1)
    for at in letters.broker.partitions(TOPIC):
        await letters.broker.transaction(at, [])
    assert await letters.current() == {dead_letter_key(record(1))}


async def test_what_is_no_letter_is_left_out(letters: Letters) -> None:
    producer = letters.broker.producer()
    await producer.send_and_wait(TOPIC, b"something", key=b"telemetry/1/7")
    await producer.send_and_wait(TOPIC, b"something", headers=[("sparkle-reason", b"nonsense")])
    await letters.send(7)
    assert await letters.current() == {dead_letter_key(record(7))}


async def test_a_broker_that_does_not_acknowledge_is_a_transient_error_and_counts_no_letter(
    letters: Letters,
) -> None:
    async def refuse(at: TopicPartition) -> None:
        raise NotEnoughReplicasError

    letters.broker.before_append = refuse
    with pytest.raises(TransientError):
        await letters.send(7)
    with pytest.raises(TransientError):
        await letters.publisher.delete_resolved([replayed(7, (None,))])
    assert letters.counted(Reason.NOT_JSON) == 0
