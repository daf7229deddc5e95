"""When hosts sent readings: the same whatever the order, and silence by their own interval."""

import random

import pytest

from sparkle_app.ingest.host_recorder import RecentActivity
from sparkle_app.model.host_activity import HostActivity, merged
from sparkle_app.model.reading import StoredReading
from tests.support.fake_clock import FakeClock

SECOND = 1_000_000
START = 1_764_000_000 * SECOND


def activity(
    first: float, last: float | None = None, config_id: int = 1, interval: float | None = None
) -> HostActivity:
    begin, end = START + int(first * SECOND), START + int((first if last is None else last) * SECOND)
    return HostActivity(
        "host",
        "P",
        config_id,
        begin + 1,
        end + 1,
        begin,
        end,
        None if interval is None else int(interval * SECOND),
    )


def reading(at: float, hostname: str = "host", config_id: int = 1) -> StoredReading:
    time = START + int(at * SECOND)
    return StoredReading(b"", config_id, hostname, "k", 1.0, time, time + 1, True, "t", 0, 0)


def test_first_and_last_times_do_not_depend_on_the_order() -> None:
    parts = [activity(at, at + 5, config_id=at) for at in (0, 20, 40, 60, 80)]
    for seed in range(20):
        random.Random(seed).shuffle(parts)
        both = parts[0]
        for part in parts[1:]:
            both = merged(both, part)
        assert (both.first_observed_at, both.last_observed_at) == (START, START + 85 * SECOND)
        assert (both.first_received_at, both.last_received_at) == (START + 1, START + 85 * SECOND + 1)
        assert both.config_id == 80


@pytest.mark.parametrize("interval", [60, 300, 3600])
def test_the_interval_is_that_between_readings_even_if_they_are_recorded_in_two_parts(interval: int) -> None:
    both = activity(0)
    for number in range(1, 20):
        both = merged(both, activity((number - 1) * interval + 1))
        both = merged(both, activity(number * interval))
    assert both.interval == pytest.approx(interval * SECOND, abs=SECOND)


def test_hosts_that_send_more_often_have_an_interval_of_a_minute() -> None:
    both = activity(0)
    for number in range(1, 10):
        both = merged(both, activity(number * 35 - 30, number * 35))
    assert both.interval == 60 * SECOND


def test_a_pause_changes_the_interval_little_and_a_new_interval_is_learned() -> None:
    after_pause = merged(activity(0, interval=300), activity(86_400))
    assert after_pause.interval == 375 * SECOND
    both = activity(0, interval=300)
    for number in range(1, 20):
        both = merged(both, activity(number * 60))
    assert both.interval == pytest.approx(60 * SECOND, rel=0.05)


@pytest.mark.parametrize(("interval", "seconds"), [(60, 180), (300, 900), (None, 900), (3600, 10_800)])
def test_a_host_is_silent_after_three_intervals(interval: int | None, seconds: int) -> None:
    host = activity(0, interval=interval)
    assert not host.is_silent(START + 1 + seconds * SECOND)
    assert host.is_silent(START + 2 + seconds * SECOND)


def test_activity_is_taken_once_a_minute_for_each_host_and_nothing_is_forgotten() -> None:
    clock = FakeClock()
    recent = RecentActivity(clock)
    recent.note({"P": [reading(0), reading(2, config_id=3), reading(1)], "Q": [reading(1)]})
    first, other = recent.take_due()
    assert (first.plugin, other.plugin) == ("P", "Q")
    assert first == HostActivity("host", "P", 3, START + 1, START + 2 * SECOND + 1, START, START + 2 * SECOND)
    clock.now += 30
    recent.note({"P": [reading(30), reading(31, hostname="new")]})
    assert [each.hostname for each in recent.take_due()] == ["new"]
    clock.now += 29
    assert recent.take_due() == []
    clock.now += 1
    (later,) = recent.take_due()
    assert (later.hostname, later.last_observed_at) == ("host", START + 30 * SECOND)
    clock.now += 3600
    assert recent.take_due() == []
    assert recent._taken == {}
