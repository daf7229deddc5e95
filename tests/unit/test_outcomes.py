"""A record can contain several readings: batches are bounded in readings, and each reading has its own outcome."""

import pytest

from sparkle_app.ingest.agent import bounded_groups
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.reading import Reading
from sparkle_app.model.record import Outcome, Record, Rejection


def record(offset: int) -> Record:
    return Record("telemetry", 0, offset, 1_764_000_000_000_000, b"several readings")


def reading(offset: int, index: int | None) -> Reading:
    return Reading(
        id=offset.to_bytes(8) + (index or 0).to_bytes(8),
        config_id=1,
        hostname="host",
        plugin="P",
        key="k",
        value=1.0,
        observed_at=0,
        received_at=0,
        clock_trusted=True,
        topic="telemetry",
        partition=0,
        offset=offset,
        index=index,
    )


def outcome_with(offset: int, readings: int) -> Outcome:
    return Outcome(record(offset), [reading(offset, index) for index in range(readings)], [])


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([1, 1, 1, 1, 1], [[1, 1], [1, 1], [1]]),
        ([2, 1, 1, 3, 1], [[2], [1, 1], [3], [1]]),
        ([5], [[5]]),
        ([], []),
        ([0, 1, 0, 1, 0, 1], [[0, 1, 0, 1, 0], [1]]),
    ],
)
def test_groups_are_bounded_in_readings_and_preserve_the_order(
    sizes: list[int], groups: list[list[int]]
) -> None:
    outcomes = [outcome_with(offset, size) for offset, size in enumerate(sizes)]
    found = list(bounded_groups(outcomes, 2))
    assert [[len(outcome.readings) for outcome in group] for group in found] == groups
    assert [outcome for group in found for outcome in group] == outcomes


def test_an_error_counts_as_one_reading() -> None:
    error = InvalidRecordError(Reason.NOT_JSON, "expected an object")
    outcomes = [Outcome(record(offset), [], [error]) for offset in range(5)]
    assert [len(group) for group in bounded_groups(outcomes, 2)] == [2, 2, 1]


def test_rejecting_one_reading_leaves_the_others() -> None:
    outcome = outcome_with(7, 3)
    rejected = outcome.readings[1]
    outcome.reject(rejected, InvalidRecordError(Reason.REFUSED_BY_DATABASE, "DataError", rejected.index))
    assert [each.index for each in outcome.readings] == [0, 2]
    (rejection,) = outcome.rejections
    assert rejection == Rejection(outcome.record, outcome.errors[0])
    assert rejection.error.index == 1


def test_a_replay_resolves_everything_that_is_not_rejected_again() -> None:
    assert outcome_with(1, 2).resolved == {None, 0, 1}
    partly = outcome_with(1, 2)
    partly.reject(partly.readings[0], InvalidRecordError(Reason.INVALID_VALUE, "expected a number", 0))
    assert partly.resolved == {None, 1}
    whole = Outcome(record(1), [], [InvalidRecordError(Reason.UNDECRYPTABLE, "not encrypted for rsa_key_7")])
    assert whole.resolved == set()
    assert Outcome(record(1), [reading(1, None)], []).resolved == {None}
