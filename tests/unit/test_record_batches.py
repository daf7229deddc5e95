"""Record batches, and batches of them."""

from types import SimpleNamespace
from typing import Any

from aiokafka import ConsumerRecord
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from sparkle_app.kafka.record_batches import RecordBatch, in_batches, records_of, split_records
from sparkle_app.kafka.record_sizes import MAX_RECORD_BYTES, UNIT_BYTES, limited, weight

AT = TP("telemetry", 3)


def _record(offset: int, size: int = 0, headers: int = 0) -> Any:
    value = b"x" * size
    return ConsumerRecord(
        *AT, offset, 1_700_000_000_000, 0, b"key", value, None, 3, size, (("h", b""),) * headers
    )


def _event(first: int, number: int, size: int = 0) -> Any:
    records = [_record(offset, size) for offset in range(first, first + number)]
    return SimpleNamespace(message=RecordBatch(AT, records, generation=7))


def test_a_record_batch_has_the_offset_of_its_last_record() -> None:
    message = _event(40, 5).message
    assert (message.topic, message.partition, message.offset) == ("telemetry", 3, 44)
    assert (message.tp, message.generation_id) == (AT, 7)


@given(st.lists(st.integers(1, 30), max_size=20), st.integers(1, 50))
def test_batches_contain_every_record_once_and_in_order(sizes: list[int], max_records: int) -> None:
    firsts = [sum(sizes[:number]) for number in range(len(sizes))]
    events = [_event(first, size) for first, size in zip(firsts, sizes, strict=True)]
    batches = [
        [record.offset for event in batch for record in records_of(event)]
        for batch in in_batches(events, lambda: max_records)
    ]
    assert [offset for batch in batches for offset in batch] == list(range(sum(sizes)))
    assert all(0 < len(batch) <= max(max_records, *sizes) for batch in batches)


def test_a_batch_is_filled_before_the_next_one_starts() -> None:
    events = [_event(number * 250, 250) for number in range(9)]
    assert [len(batch) for batch in in_batches(events, lambda: 1000)] == [4, 4, 1]


@given(st.lists(st.integers(0, 5 * UNIT_BYTES), max_size=30), st.integers(1, 10))
def test_splitting_loses_no_record(sizes: list[int], max_records: int) -> None:
    fetched = [_record(offset, size) for offset, size in enumerate(sizes)]
    parts = split_records(fetched, max_records)
    assert [record for part in parts for record in part] == fetched
    assert all(0 < len(part) <= max_records for part in parts)
    assert all(len(part) == 1 or sum(map(weight, part)) <= max_records for part in parts)


def test_large_records_count_as_several() -> None:
    events = [_event(number * 10, 10, size=4 * UNIT_BYTES) for number in range(5)]
    assert [len(batch) for batch in in_batches(events, lambda: 100)] == [2, 2, 1]
    assert weight(_record(0, headers=1000)) > 30


def test_a_record_that_is_too_large_loses_all_but_its_position_and_size() -> None:
    (record,) = map(limited, [_record(7, size=MAX_RECORD_BYTES)])
    assert (record.offset, record.key, record.value, record.headers) == (7, None, None, ())
    assert record.serialized_value_size == MAX_RECORD_BYTES
    assert limited(_record(7, headers=10_000)).headers == ()
    kept = _record(7, size=MAX_RECORD_BYTES - 100)
    assert limited(kept) is kept


def test_the_next_batch_has_the_size_that_is_the_maximum_when_it_begins() -> None:
    events = [_event(number * 250, 250) for number in range(6)]
    maximums = iter([1000, 1000, 1000, 1000, 250, 250])
    assert [len(batch) for batch in in_batches(events, lambda: next(maximums))] == [4, 1, 1]
