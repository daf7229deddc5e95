"""Confirmation: while workers run, `verify` reports only differences that last."""

import math
from collections.abc import Callable, Sequence
from typing import cast

import pytest

from sparkle_app.audit import confirmation
from sparkle_app.audit.auditor import Auditor
from sparkle_app.audit.confirmation import confirmed
from sparkle_app.audit.differences import AggregateKey, Difference, statistics_equal
from sparkle_app.kafka.consumer import SESSION_SECONDS
from sparkle_app.model.buckets import Statistics
from tests.support.virtual_time import VirtualClock

TAKEOVER_SECONDS = 2 * SESSION_SECONDS
"""Seconds after which the partitions of a killed worker are assigned to another one, at the latest."""
State = tuple[int | None, int | None]
"""Number of readings that the aggregate in SQL counts, and of stored ones; None if there is no aggregate or reading."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    clock = VirtualClock()
    monkeypatch.setattr(confirmation, "time", clock)
    return clock


def statistics(count: int | None) -> Statistics | None:
    return None if count is None else Statistics(count, float(count), 1.0, 1.0, 1.0, count)


def key(host: str) -> AggregateKey:
    return AggregateKey(host, 0, "core/0", 60)


class Database:
    """Replaces the auditor: the state of the single aggregate of each host, as a function of time."""

    def __init__(self, clock: VirtualClock, **states: Callable[[float], State]) -> None:
        self._clock = clock
        self._states = states
        self.rechecks = 0

    def difference(self, host: str) -> Difference | None:
        stored, computed = self._states[host](self._clock.now)
        return None if stored == computed else Difference(key(host), statistics(stored), statistics(computed))

    def recheck(self, differences: Sequence[Difference]) -> dict[AggregateKey, Difference]:
        self.rechecks += 1
        assert differences, "expected no request for an empty chunk"
        found = (self.difference(each.key[0]) for each in differences)
        return {each.key: each for each in found if each}

    def confirmed(self, *chunks: Sequence[str]) -> list[str]:
        """The hosts of the confirmed differences, for chunks with these hosts."""
        first = [[found for host in chunk if (found := self.difference(host))] for chunk in chunks]
        return [each.key[0] for each in confirmed(cast(Auditor, self), first)]


def always(stored: int | None, computed: int | None) -> Callable[[float], State]:
    return lambda _now: (stored, computed)


def test_without_differences_there_is_no_wait(clock: VirtualClock) -> None:
    database = Database(clock)
    assert database.confirmed([], []) == []
    assert (clock.now, database.rechecks) == (0, 0)


def test_an_aggregate_that_is_written_shortly_afterwards_is_not_a_difference(clock: VirtualClock) -> None:
    database = Database(clock, a=lambda now: (None if now < 3 else 5, 5))
    assert database.confirmed(["a"]) == []
    assert clock.now < 10


@pytest.mark.parametrize("stored", [None, 4])
def test_an_aggregate_that_stays_behind_is_confirmed_after_the_time_of_a_takeover(
    clock: VirtualClock, stored: int | None
) -> None:
    assert Database(clock, a=always(stored, 5)).confirmed(["a"]) == ["a"]
    assert TAKEOVER_SECONDS <= clock.now <= TAKEOVER_SECONDS + 4


def test_an_aggregate_that_is_written_just_before_the_end_of_a_takeover_is_not_a_difference(
    clock: VirtualClock,
) -> None:
    database = Database(clock, a=lambda now: (None if now < TAKEOVER_SECONDS - 1 else 5, 5))
    assert database.confirmed(["a"]) == []


def test_an_aggregate_that_catches_up_slowly_is_not_a_difference(clock: VirtualClock) -> None:
    # It counts one more reading every 20 s, for longer than a takeover.
    database = Database(clock, a=lambda now: (min(int(now / 20), 10), 10))
    assert database.confirmed(["a"]) == []
    assert 200 <= clock.now <= 204


def test_an_aggregate_that_stops_catching_up_is_confirmed_after_the_time_of_a_takeover(
    clock: VirtualClock,
) -> None:
    database = Database(clock, a=lambda now: (min(int(now / 20), 3), 10))
    assert database.confirmed(["a"]) == ["a"]
    assert 60 + TAKEOVER_SECONDS <= clock.now <= 60 + TAKEOVER_SECONDS + 6


def test_while_any_aggregate_catches_up_none_is_confirmed_to_be_behind(clock: VirtualClock) -> None:
    # The worker that processes the samples of `a` may process those of `b` next.
    database = Database(clock, a=lambda now: (min(int(now / 10), 12), 12), b=always(None, 5))
    assert database.confirmed(["a"], ["b"]) == ["b"]
    assert 120 + TAKEOVER_SECONDS <= clock.now <= 120 + TAKEOVER_SECONDS + 6


def test_a_bucket_with_continuous_readings_is_not_a_difference(clock: VirtualClock) -> None:
    # It is always one reading behind, but soon counts all readings of the first comparison.
    database = Database(clock, a=lambda now: (int(now), int(now) + 1))
    assert database.confirmed(["a"]) == []
    assert clock.now < TAKEOVER_SECONDS


@pytest.mark.parametrize("state", [(6, 5), (5, None)])
def test_an_aggregate_that_counts_too_many_readings_is_confirmed_at_the_next_poll(
    clock: VirtualClock, state: State
) -> None:
    database = Database(clock, a=always(*state))
    assert database.confirmed(["a"]) == ["a"]
    assert (clock.sleeps, database.rechecks) == ([2.0], 1)


def test_a_surplus_that_disappears_is_not_a_difference(clock: VirtualClock) -> None:
    database = Database(clock, a=lambda now: (6 if now < 1 else 5, 5))
    assert database.confirmed(["a"]) == []


def test_a_surplus_that_changes_at_every_poll_is_not_a_difference(clock: VirtualClock) -> None:
    database = Database(clock, a=lambda now: (10 + int(now), 5))
    assert database.confirmed(["a"]) == []
    assert database.rechecks == 5


def test_a_surplus_that_changes_and_then_stays_is_confirmed(clock: VirtualClock) -> None:
    database = Database(clock, a=lambda now: (10 + min(int(now), 5), 5))
    assert database.confirmed(["a"]) == ["a"]
    assert database.rechecks == 4


def test_an_aggregate_that_was_behind_and_then_counts_too_many_readings_is_confirmed(
    clock: VirtualClock,
) -> None:
    database = Database(clock, a=lambda now: (4 if now < 3 else 6, 5))
    assert database.confirmed(["a"]) == ["a"]
    assert clock.now < TAKEOVER_SECONDS


def test_confirmed_differences_are_sorted_by_key(
    clock: VirtualClock,
) -> None:
    states = {
        "d": always(6, 5),
        "a": always(4, 5),
        "c": always(5, 5),
        "b": always(7, 5),
        "e": always(None, 1),
    }
    assert Database(clock, **states).confirmed(["d", "a"], ["c"], ["b", "e"]) == ["a", "b", "d", "e"]


def test_only_chunks_with_unconfirmed_differences_are_compared_again(clock: VirtualClock) -> None:
    database = Database(clock, a=always(6, 5), b=always(4, 5))
    assert database.confirmed(["a"], ["b"]) == ["a", "b"]
    # Both chunks at the first poll, then only the one with `b`.
    assert database.rechecks == len(clock.sleeps) + 1


@pytest.mark.parametrize(
    ("one", "other", "largest", "equal"),
    [
        (1.0, 1.0 + 1e-10, 1.0, True),
        (1.0, 1.0 + 1e-8, 1.0, False),
        # 1e17 - 1e17 + 1 is 1, and 1 + 1e17 - 1e17 is 0.
        (0.0, 1.0, 1e17, True),
        (0.0, 1e9, 1e17, False),
        (math.inf, math.inf, 1e308, True),
        (math.inf, -math.inf, 1e308, False),
        (math.inf, 1e308, 1e308, False),
    ],
)
def test_sums_are_compared_with_the_precision_of_the_largest_value(
    one: float, other: float, largest: float, equal: bool
) -> None:
    each, again = (Statistics(3, total, -largest, largest, 1.0, 0) for total in (one, other))
    assert statistics_equal(each, again) is equal
    assert statistics_equal(again, each) is equal


@pytest.mark.parametrize("count", [0, -1])
def test_a_damaged_row_is_a_difference(count: int) -> None:
    damaged, computed = (Statistics(each, 5.0, 1.0, 4.0, 4.0, 0) for each in (count, 2))
    assert not statistics_equal(damaged, computed)
    assert not statistics_equal(computed, damaged)
    assert statistics_equal(damaged, Statistics(count, 5.0, 1.0, 4.0, 4.0, 0))
    assert not statistics_equal(damaged, Statistics(count, 6.0, 1.0, 4.0, 4.0, 0))
