"""Bundles of records, and batches of bundles."""

from types import SimpleNamespace
from typing import Any, cast

from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from sparkle_app.kafka.record_batches import RecordBatch, in_batches, records_of, split_records

AT = TP("telemetry", 3)


def _bundle(first: int, number: int) -> Any:
    records = [
        SimpleNamespace(offset=offset, timestamp=1_700_000_000_000, timestamp_type=0)
        for offset in range(first, first + number)
    ]
    return SimpleNamespace(message=RecordBatch(AT, cast(Any, records), generation=7))


def test_a_bundle_stands_for_its_last_record() -> None:
    message = _bundle(40, 5).message
    assert (message.topic, message.partition, message.offset) == ("telemetry", 3, 44)
    assert (message.tp, message.generation_id) == (AT, 7)


@given(st.lists(st.integers(1, 30), max_size=20), st.integers(1, 50))
def test_batches_hold_every_record_once_and_in_order(sizes: list[int], most: int) -> None:
    firsts = [sum(sizes[:number]) for number in range(len(sizes))]
    events = [_bundle(first, size) for first, size in zip(firsts, sizes, strict=True)]
    batches = [
        [record.offset for event in batch for record in records_of(event)]
        for batch in in_batches(events, most)
    ]
    assert [offset for batch in batches for offset in batch] == list(range(sum(sizes)))
    assert all(0 < len(batch) <= max(most, *sizes) for batch in batches)


def test_a_batch_is_filled_before_the_next_begins() -> None:
    events = [_bundle(number * 250, 250) for number in range(9)]
    assert [len(batch) for batch in in_batches(events, 1000)] == [4, 4, 1]


@given(st.lists(st.integers()), st.integers(1, 10))
def test_what_was_fetched_is_bundled_without_loss(fetched: list[int], most: int) -> None:
    bundles = split_records(fetched, most)
    assert [each for bundle in bundles for each in bundle] == fetched
    assert all(0 < len(bundle) <= most for bundle in bundles)
