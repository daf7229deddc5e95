"""Record batches, and batches of them."""

from types import SimpleNamespace
from typing import Any, cast

from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from sparkle_app.kafka.record_batches import RecordBatch, in_batches, records_of, split_records

AT = TP("telemetry", 3)


def _event(first: int, number: int) -> Any:
    records = [
        SimpleNamespace(offset=offset, timestamp=1_700_000_000_000, timestamp_type=0)
        for offset in range(first, first + number)
    ]
    return SimpleNamespace(message=RecordBatch(AT, cast(Any, records), generation=7))


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


@given(st.lists(st.integers()), st.integers(1, 10))
def test_splitting_loses_no_record(fetched: list[int], max_records: int) -> None:
    parts = split_records(fetched, max_records)
    assert [record for part in parts for record in part] == fetched
    assert all(0 < len(part) <= max_records for part in parts)


def test_the_next_batch_has_the_size_that_is_the_maximum_when_it_begins() -> None:
    events = [_event(number * 250, 250) for number in range(6)]
    maximums = iter([1000, 1000, 1000, 1000, 250, 250])
    assert [len(batch) for batch in in_batches(events, lambda: next(maximums))] == [4, 1, 1]
