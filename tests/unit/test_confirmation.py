"""Which differences `verify` reports while workers run: those that do not go away."""

from collections.abc import Callable, Sequence
from typing import cast

import pytest

from sparkle_app.audit import confirmation
from sparkle_app.audit.auditor import Auditor, Difference, Key
from sparkle_app.audit.confirmation import confirmed
from sparkle_app.kafka.consumer import SESSION_SECONDS
from sparkle_app.model.buckets import Statistics
from tests.support.virtual_time import VirtualClock

TAKEOVER_SECONDS = 2 * SESSION_SECONDS
"""So long it may take until another worker has the partitions of one that was killed."""
State = tuple[int | None, int | None]
"""How many readings SQL's aggregate counts, and how many raw rows there are; None: no such aggregate, no rows."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    clock = VirtualClock()
    monkeypatch.setattr(confirmation, "time", clock)
    return clock


def statistics(count: int | None) -> Statistics | None:
    return None if count is None else Statistics(count, float(count), 1.0, 1.0, 1.0, count)


def key(host: str) -> Key:
    return host, 0, "core/0"


class Database:
    """Stands in for the auditor: for each host the state of its one aggregate, over time."""

    def __init__(self, clock: VirtualClock, **states: Callable[[float], State]) -> None:
        self._clock = clock
        self._states = states
        self.rechecks = 0

    def difference(self, host: str) -> Difference | None:
        stored, computed = self._states[host](self._clock.now)
        return None if stored == computed else Difference(key(host), statistics(stored), statistics(computed))

    def recheck(self, differences: Sequence[Difference]) -> dict[Key, Difference]:
        self.rechecks += 1
        assert differences, "an empty page has no start and no end"
        found = (self.difference(each.key[0]) for each in differences)
        return {each.key: each for each in found if each}

    def confirmed(self, *pages: Sequence[str]) -> list[str]:
        """Hosts of the differences that are confirmed, of pages that hold these hosts."""
        first = [[found for host in page if (found := self.difference(host))] for page in pages]
        return [each.key[0] for each in confirmed(cast(Auditor, self), first)]


def always(stored: int | None, computed: int | None) -> Callable[[float], State]:
    return lambda _now: (stored, computed)


def test_without_differences_nothing_is_waited_for(clock: VirtualClock) -> None:
    database = Database(clock)
    assert database.confirmed([], []) == []
    assert (clock.now, database.rechecks) == (0, 0)


def test_an_aggregate_that_comes_a_moment_later_is_no_difference(clock: VirtualClock) -> None:
    database = Database(clock, a=lambda now: (None if now < 3 else 5, 5))
    assert database.confirmed(["a"]) == []
    assert clock.now < 10


@pytest.mark.parametrize("stored", [None, 4])
def test_an_aggregate_that_stays_behind_is_confirmed_once_a_takeover_would_be_over(
    clock: VirtualClock, stored: int | None
) -> None:
    assert Database(clock, a=always(stored, 5)).confirmed(["a"]) == ["a"]
    assert TAKEOVER_SECONDS <= clock.now <= TAKEOVER_SECONDS + 4


def test_an_aggregate_that_comes_just_before_the_end_of_a_takeover_is_no_difference(
    clock: VirtualClock,
) -> None:
    database = Database(clock, a=lambda now: (None if now < TAKEOVER_SECONDS - 1 else 5, 5))
    assert database.confirmed(["a"]) == []


def test_an_aggregate_that_catches_up_slowly_is_waited_for(clock: VirtualClock) -> None:
    # It counts another reading every 20 s, for longer than any takeover.
    database = Database(clock, a=lambda now: (min(int(now / 20), 10), 10))
    assert database.confirmed(["a"]) == []
    assert 200 <= clock.now <= 204


def test_one_that_moves_and_stops_is_confirmed_a_takeover_after_it_stopped(clock: VirtualClock) -> None:
    database = Database(clock, a=lambda now: (min(int(now / 20), 3), 10))
    assert database.confirmed(["a"]) == ["a"]
    assert 60 + TAKEOVER_SECONDS <= clock.now <= 60 + TAKEOVER_SECONDS + 6


def test_while_any_aggregate_moves_none_is_confirmed_to_be_behind(clock: VirtualClock) -> None:
    # The worker that works off `a` may come to `b` next.
    database = Database(clock, a=lambda now: (min(int(now / 10), 12), 12), b=always(None, 5))
    assert database.confirmed(["a"], ["b"]) == ["b"]
    assert 120 + TAKEOVER_SECONDS <= clock.now <= 120 + TAKEOVER_SECONDS + 6


def test_a_bucket_that_readings_still_come_to_is_not_waited_for_without_end(clock: VirtualClock) -> None:
    # Always one reading behind, but what was there at first has long been counted.
    database = Database(clock, a=lambda now: (int(now), int(now) + 1))
    assert database.confirmed(["a"]) == []
    assert clock.now < TAKEOVER_SECONDS


@pytest.mark.parametrize("state", [(6, 5), (5, None)])
def test_a_difference_that_is_not_behind_is_confirmed_when_it_is_the_same_a_moment_later(
    clock: VirtualClock, state: State
) -> None:
    database = Database(clock, a=always(*state))
    assert database.confirmed(["a"]) == ["a"]
    assert (clock.sleeps, database.rechecks) == ([2.0], 1)


def test_a_difference_that_is_not_behind_and_goes_is_none(clock: VirtualClock) -> None:
    database = Database(clock, a=lambda now: (6 if now < 1 else 5, 5))
    assert database.confirmed(["a"]) == []


def test_a_difference_that_changes_at_every_poll_is_given_up_as_work_under_way(clock: VirtualClock) -> None:
    database = Database(clock, a=lambda now: (10 + int(now), 5))
    assert database.confirmed(["a"]) == []
    assert database.rechecks == 5


def test_a_difference_that_changes_and_then_stays_is_confirmed(clock: VirtualClock) -> None:
    database = Database(clock, a=lambda now: (10 + min(int(now), 5), 5))
    assert database.confirmed(["a"]) == ["a"]
    assert database.rechecks == 4


def test_one_that_was_behind_and_counts_too_much_is_confirmed(clock: VirtualClock) -> None:
    database = Database(clock, a=lambda now: (4 if now < 3 else 6, 5))
    assert database.confirmed(["a"]) == ["a"]
    assert clock.now < TAKEOVER_SECONDS


def test_confirmed_differences_come_in_the_order_of_their_keys_whenever_they_were_confirmed(
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


def test_only_pages_that_still_differ_are_read_again(clock: VirtualClock) -> None:
    database = Database(clock, a=always(6, 5), b=always(4, 5))
    assert database.confirmed(["a"], ["b"]) == ["a", "b"]
    # Both pages at the first poll, then only that of `b`.
    assert database.rechecks == len(clock.sleeps) + 1
