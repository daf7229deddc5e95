"""When hosts sent readings: the same whatever the order, and being silent by their own interval."""

import random

import msgspec
import pytest

from sparkle_app.ingest.host_recorder import RecentActivity
from sparkle_app.model.host_activity import HostActivity, merged, united
from sparkle_app.model.reading import StoredReading
from tests.support.fake_clock import FakeClock

SECOND = 1_000_000
START = 1_764_000_000 * SECOND
DAY = 86_400


def activity(
    first: float, last: float | None = None, config_id: int = 1, interval: float | None = None
) -> HostActivity:
    begin, end = START + int(first * SECOND), START + int((first if last is None else last) * SECOND)
    usual = None if interval is None else int(interval * SECOND)
    return HostActivity("host", "P", config_id, begin, end, begin - 1, end - 1, usual)


def reading(at: float, hostname: str = "host", config_id: int = 1) -> StoredReading:
    time = START + int(at * SECOND)
    return StoredReading(b"", config_id, hostname, "k", 1.0, time - 1, time, True, "t", 0, 0)


def test_first_and_last_times_do_not_depend_on_the_order() -> None:
    parts = [activity(at, at + 5, config_id=at) for at in (0, 20, 40, 60, 80)]
    for seed in range(20):
        random.Random(seed).shuffle(parts)
        both = parts[0]
        for part in parts[1:]:
            both = merged(both, part)
        assert (both.first_received_at, both.last_received_at) == (START, START + 85 * SECOND)
        assert (both.first_observed_at, both.last_observed_at) == (START - 1, START + 85 * SECOND - 1)
        assert both.config_id == 80


def test_the_clock_of_the_last_reading_counts() -> None:
    early, late = activity(0), activity(60)
    late.clock_offset = 7 * SECOND
    assert merged(early, late).clock_offset == 7 * SECOND
    assert merged(late, early).clock_offset == 7 * SECOND
    # The clock is right again.
    assert merged(late, activity(120)).clock_offset is None


def test_offsets_are_those_of_readings_whose_clock_is_not_trusted() -> None:
    recent = RecentActivity(lambda: START / SECOND + 100)
    readings = [reading(0, "right"), reading(0, "wrong"), reading(0, "repaired"), reading(1, "repaired")]
    readings = [msgspec.structs.replace(each, id=bytes([n])) for n, each in enumerate(readings)]
    recent.note({"P": readings}, {b"\1": -5 * SECOND, b"\2": 9 * SECOND})
    assert {each.hostname: each.clock_offset for each in recent.take_all()} == {
        "right": None,
        "wrong": -5 * SECOND,
        "repaired": None,
    }


def learned(
    interval: float, span: float, workers: int, number: int = 40, seed: int = 1
) -> tuple[HostActivity, float]:
    """What is known after some intervals, and the share of the time in which the host is wrongly silent.

    The readings of an interval take ``span`` seconds, and each is processed by one of the workers, which record their
    part once a minute.
    """
    chance = random.Random(seed)
    parts: list[HostActivity] = []
    for worker in range(workers):
        times = sorted(
            count * interval + offset
            for count in range(number)
            for offset in (chance.uniform(0, span) for _ in range(16))
            if chance.randrange(workers) == worker
        )
        taken = -60.0
        pending: list[float] = []
        for at in [*times, number * interval]:
            if pending and at >= max(taken + 60, pending[0]):
                taken = max(taken + 60, pending[0])
                parts.append(activity(pending[0], pending[-1]))
                pending = []
            pending.append(at)
    parts.sort(key=lambda part: part.last_received_at)
    both, silent = parts[0], 0.0
    for part in parts[1:]:
        silent += max(part.last_received_at - both.silent_after, 0) / SECOND
        both = merged(both, part)
    return both, silent / (number * interval)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    ("interval", "span"), [(60, 1), (300, 1), (300, 40), (900, 45), (3600, 45), (3600, 300)]
)
def test_the_interval_is_learned_and_the_host_is_seldom_silent_meanwhile(
    interval: int, span: int, workers: int
) -> None:
    both, silent = learned(interval, span, workers)
    assert both.interval is not None
    assert 0.55 * interval <= both.interval / SECOND <= 1.2 * max(interval, 60)
    assert silent < (0.2 if interval == 3600 else 0.01)


def test_hosts_that_send_all_the_time_have_an_interval_of_a_minute() -> None:
    both = activity(0)
    for number in range(40):
        both = merged(both, activity(number * 65 + 5, number * 65 + 64))
    assert both.interval == 60 * SECOND


def test_the_interval_is_known_after_as_long_as_the_one_that_was_assumed() -> None:
    """Readings every few seconds, recorded once a minute: of five minutes without a pause, four follow the first."""
    both, found = activity(-1800, 0), []
    for number in range(6):
        both = merged(both, activity(number * 60 + 5, number * 60 + 60))
        found.append(both.interval)
    assert found == [each * SECOND for each in (240, 180, 120, 60, 60, 60)]


def test_a_pause_is_forgotten_after_as_long_as_it_lasted() -> None:
    both = merged(activity(0, interval=300), activity(900))
    assert both.interval == 900 * SECOND
    for number, expected in ((1, 600), (2, 300), (3, 300)):
        both = merged(both, activity(900 + number * 300))
        assert both.interval == expected * SECOND


def test_what_was_not_recorded_as_it_came_hides_its_pauses() -> None:
    """After an hour without the database, one record of it: nobody knows that it contains a reading every 300 s."""
    usual = activity(0, interval=300)
    assert merged(usual, activity(20, 3620)).interval == 300 * SECOND
    assert merged(usual, activity(20, 200)).interval == 180 * SECOND
    # In two minutes there is no pause that matters.
    assert merged(usual, activity(20, 140)).interval == 160 * SECOND


def test_replayed_readings_do_not_change_the_interval() -> None:
    recent = RecentActivity(lambda: START / SECOND + 4000)
    before = [-2 * DAY + 300 * number for number in range(40)]
    recent.note({"P": [reading(at) for at in before]})
    (replayed,) = recent.take_all()
    both = merged(activity(0, interval=300), replayed)
    assert (both.interval, both.last_received_at) == (300 * SECOND, START)
    # Together with one that is sent now.
    recent.note({"P": [reading(at) for at in [*before, 20]]})
    (mixed,) = recent.take_all()
    assert merged(activity(0, interval=300), mixed).interval == 300 * SECOND


def test_a_pause_changes_the_interval_for_a_while_only_and_a_shorter_interval_is_learned() -> None:
    both = merged(activity(0, interval=300), activity(DAY))
    assert both.interval == 1200 * SECOND
    for number in range(1, 20):
        both = merged(both, activity(DAY + number * 300))
    assert both.interval == 300 * SECOND
    for number in range(1, 20):
        both = merged(both, activity(2 * DAY + number * 60))
    assert both.interval is not None
    assert both.interval < 200 * SECOND


def test_readings_all_the_time_for_half_a_minute_are_no_pause() -> None:
    usual = activity(0, interval=300)
    assert merged(usual, activity(10, 29)).interval == 300 * SECOND
    # A tenth shorter; microseconds are whole numbers.
    shorter = merged(usual, activity(10, 30)).interval
    assert (shorter, type(shorter)) == (270 * SECOND, int)


def test_of_two_readings_received_at_the_same_time_the_one_that_is_added_last_counts() -> None:
    host = activity(0)
    host.add(2, START, START - 1, 7 * SECOND)
    assert (host.config_id, host.clock_offset) == (2, 7 * SECOND)


def test_old_records_and_wrong_clocks_do_not_change_the_interval_much() -> None:
    # Replayed.
    assert merged(activity(0, interval=300), activity(-DAY)) == activity(-DAY, 0, interval=300)
    # A host that was tested once, and started a year later.
    assert merged(activity(0), activity(365 * DAY)).interval == 1200 * SECOND
    both = activity(0)
    for number in range(1, 100):
        both = merged(both, activity(number * 365 * DAY))
    assert both.interval == 7 * DAY * SECOND


@pytest.mark.parametrize(("interval", "seconds"), [(60, 180), (300, 900), (None, 900), (3600, 10_800)])
def test_a_host_is_silent_after_three_intervals(interval: int | None, seconds: int) -> None:
    host = activity(0, interval=interval)
    assert not host.is_silent(START + seconds * SECOND)
    assert host.is_silent(START + seconds * SECOND + 1)


def test_activity_is_taken_once_a_minute_for_each_host_and_nothing_is_forgotten() -> None:
    clock = FakeClock()
    recent = RecentActivity(lambda: 2e9, clock)
    recent.note({"P": [reading(0), reading(2, config_id=3), reading(1)], "Q": [reading(1)]})
    first, other = recent.take_due()
    assert (first.plugin, other.plugin) == ("P", "Q")
    assert first == activity(0, 2, config_id=3)
    clock.now += 30
    recent.note({"P": [reading(30), reading(31, hostname="new")]})
    assert [each.hostname for each in recent.take_due()] == ["new"]
    clock.now += 29
    assert recent.take_due() == []
    clock.now += 1
    (later,) = recent.take_due()
    assert (later.hostname, later.last_received_at) == ("host", START + 30 * SECOND)
    recent.note({"P": [reading(40)]})
    assert recent.take_due() == []
    # Not recorded: together with what came meanwhile, at the next attempt.
    recent.put_back([later])
    assert recent.take_due() == [activity(30, 40)]
    recent.note({"P": [reading(50)]})
    assert recent.take_all() == [activity(50)]
    clock.now += 3600
    assert recent.take_due() == []
    assert recent._taken == {}


def test_no_reading_was_received_in_the_future() -> None:
    recent = RecentActivity(lambda: START / SECOND + 100)
    recent.note({"P": [reading(365 * DAY), reading(50)]})
    assert recent.take_all() == [
        HostActivity(
            "host",
            "P",
            1,
            START + 50 * SECOND,
            START + 100 * SECOND,
            START + 50 * SECOND - 1,
            START + 100 * SECOND,
        )
    ]


def test_two_names_of_a_host_are_one_host() -> None:
    old = activity(0, 300, config_id=1, interval=60)
    new = activity(100, 500, config_id=2, interval=120)
    both = activity(0, 500, config_id=2, interval=120)
    assert united(old, new) == united(new, old) == both
    new.interval = None
    assert united(old, new).interval == old.interval
    assert (old.last_received_at, new.first_received_at) == (START + 300 * SECOND, START + 100 * SECOND)
