"""Retention of one plugin: what it merges and deletes, interruptions, and writes of workers in between."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sparkle_app.model.buckets import AggregateRow
from sparkle_app.model.errors import TransientError
from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.retention import DAY, HOUR, READINGS, Retention, Watermark
from sparkle_app.model.time import LATEST, span
from sparkle_app.plugin.merging import merged_rows
from sparkle_app.retention import merging, steps
from sparkle_app.retention.plugin_rows import PluginRows
from sparkle_app.retention.retainer import GRACE_SECONDS
from sparkle_app.retention.steps import Action
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.hosts import record_activity
from tests.support.aggregate_worker import NAME, PLUGIN, plain_reading
from tests.support.retention_world import HOSTS, KEPT_LONG, NOON, TODAY, World, run, ten_days


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Ten days of readings, two of a host on each day."""
    with ten_days(tmp_path) as world:
        yield world


def test_what_has_ended_is_merged_and_what_has_expired_is_deleted(world: World) -> None:
    steps = run(world)
    both = 2 * len(HOSTS)
    assert world.counts(READINGS) == {-day: both for day in range(3)} | {-3: both}
    assert world.counts(60) == {0: both, -1: both}
    assert world.counts(HOUR) == {-day: both for day in range(5)} | {0: len(HOSTS)}
    assert world.counts(DAY) == {-day: both for day in range(1, 7)}
    marks = world.marks()
    assert {each: mark.kept_since for each, mark in marks.items()} == {
        READINGS: TODAY - 3 * span(DAY),
        60: TODAY - span(DAY),
        HOUR: TODAY - 4 * span(DAY),
        DAY: TODAY - 6 * span(DAY),
    }
    assert all(mark.deleted_until == mark.kept_since for mark in marks.values())
    assert marks[HOUR].merged_until == marks[HOUR].merging_until == NOON
    assert marks[DAY].merged_until == TODAY
    deleted = {
        resolution: sum(
            each.rows for each in steps if each.action is Action.DELETE and each.resolution == resolution
        )
        for resolution in marks
    }
    assert deleted == {READINGS: 6 * both, 60: 8 * both, HOUR: 5 * both, DAY: 3 * len(HOSTS)}


def test_a_run_with_nothing_to_do_does_nothing(world: World) -> None:
    run(world)
    assert run(world) == []


def test_hours_are_merged_after_a_grace_period(world: World) -> None:
    list(world.retainer().run(NOON + span(GRACE_SECONDS) - 1))
    assert world.marks()[HOUR].merged_until == NOON - span(HOUR)
    list(world.retainer().run(NOON + span(GRACE_SECONDS)))
    assert world.marks()[HOUR].merged_until == NOON


def test_a_run_that_is_interrupted_anywhere_is_continued_by_the_next(tmp_path: Path) -> None:
    number = 0
    while True:
        folder = tmp_path / str(number)
        folder.mkdir()
        world = World(folder)
        for day in range(8):
            world.store(NOON - day * span(DAY))
        steps = world.retainer().run(NOON + span(HOUR))
        done = [step for step, _ in zip(steps, range(number), strict=False)]
        steps.close()
        # As a worker that is killed: the last step may or may not have been noted.
        late = NOON - span(DAY) + 5
        world.store(late)
        run(world)
        assert world.counts(READINGS) == {0: 1, -1: 2, -2: 1, -3: 1}
        assert world.counts(60) == {0: 1, -1: 2}
        assert world.counts(HOUR) == {-1: 2, -2: 1, -3: 1, -4: 1}
        assert world.counts(DAY) == {-1: 2, -2: 1, -3: 1, -4: 1, -5: 1, -6: 1}
        world.engine.dispose()
        if len(done) < number:
            break
        number += 17


def test_a_clock_that_is_years_ahead_deletes_nothing_that_is_kept(world: World) -> None:
    activity = HostActivity(HOSTS[0], NAME, 1, NOON, NOON, NOON, NOON)
    record_activity(world.engine, [activity], LATEST)
    expected = [each.before for each in world.retainer().expiring(NOON + span(HOUR))]
    late = NOON + span(5 * 365 * DAY)
    assert [each.before for each in world.retainer().expiring(late)] == expected
    list(world.retainer().run(late))
    assert world.counts(READINGS) == {-day: 2 * len(HOSTS) for day in range(4)}
    # What comes next is stored and counted.
    world.store(NOON + 5, "host-00")
    assert world.counts(READINGS)[0] == 2 * len(HOSTS) + 1
    assert world.counts(DAY)[0] == 2 * len(HOSTS) + 1


def test_a_row_of_a_wrong_clock_decades_ago_is_merged_without_a_query_for_each_day(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store(NOON - span(9000 * DAY), "host-00")
    starts: list[int] = []

    def merged(*arguments: Any) -> list[AggregateRow]:
        starts.append(arguments[-2])
        return merged_rows(*arguments)

    monkeypatch.setattr(merging, "merged_rows", merged)
    # However busy the machine is.
    monkeypatch.setattr(steps, "time", SimpleNamespace(monotonic=lambda: 0.0))
    done = list(world.retainer(KEPT_LONG).run(NOON + span(HOUR)))
    assert len(starts) < 200
    assert len(done) < 20
    with read_transaction(world.engine) as connection:
        days = list(PLUGIN.count_aggregates(connection, DAY, 0, NOON))
    assert len(days) == 1 + 9 * len(HOSTS)
    assert world.marks()[DAY].merged_until == TODAY


def test_nothing_is_deleted_before_it_is_merged(world: World) -> None:
    for step in world.retainer().run(NOON + span(HOUR)):
        marks = world.marks()
        assert marks[60].kept_since <= marks[HOUR].merged_until
        assert marks[HOUR].kept_since <= marks[DAY].merged_until
        if step.action is Action.MERGE:
            assert all(mark.kept_since == 0 for mark in marks.values())
            assert marks[step.resolution].merging_until >= step.until


@pytest.mark.parametrize("every", [1, 3])
def test_late_readings_while_rows_are_merged_and_deleted_are_counted_or_expire(
    world: World, every: int
) -> None:
    both = 2 * len(HOSTS)
    expected = dict.fromkeys(range(-9, 1), both)
    for number, _ in enumerate(world.retainer().run(NOON + span(HOUR))):
        if number % every == 0:
            for day in range(10):
                hostname = HOSTS[number % len(HOSTS)]
                at = NOON - day * span(DAY) - number % 60
                kept = world.marks()[READINGS].kept_since
                world.store(at, hostname)
                expected[-day] += at >= kept
    assert world.counts(READINGS) == {day: expected[day] for day in range(-3, 1)}
    assert world.counts(60) == {day: expected[day] for day in (-1, 0)}
    hours = world.counts(HOUR)
    # The last hour has not ended.
    assert {day: hours[day] for day in range(-4, 0)} == {day: expected[day] for day in range(-4, 0)}
    assert world.counts(DAY) == {day: expected[day] for day in range(-6, 0)}


def test_a_long_past_of_few_rows_takes_few_transactions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    readings = [plain_reading(hour, "host-00", "k", NOON - hour * span(HOUR), 1.0) for hour in range(90 * 24)]
    with world.engine.begin() as connection:
        PLUGIN.store_readings(connection, readings)
        rows = PLUGIN.compute_aggregates(connection, HOSTS[:1], 60, NOON - span(91 * DAY), NOON + 1)
        PLUGIN.store_aggregates(connection, list(rows))
    monkeypatch.setattr(steps, "time", SimpleNamespace(monotonic=lambda: 0.0))
    done = run(world)
    assert len(done) < 100
    assert sum(each.rows for each in done if each.resolution == READINGS) == 90 * 24 - 3 * 24 - 13
    assert world.counts(READINGS) == {0: 13, -1: 24, -2: 24, -3: 24}
    assert world.counts(DAY) == {-day: 24 for day in range(1, 7)}
    world.engine.dispose()


def test_rows_that_are_not_deleted_end_the_run(world: World) -> None:
    """As with a trigger of somebody else: the run must not go on for ever."""
    with world.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER kept BEFORE DELETE ON memory_readings_data BEGIN SELECT RAISE(IGNORE); END"
        )
    with pytest.raises(TransientError, match="rows at 2025-11-16T11:00:00Z are not deleted"):
        run(world)
    assert len(world.counts(READINGS)) == 10


def test_two_runs_at_once_do_no_harm(world: World) -> None:
    runs = [world.retainer().run(NOON + span(HOUR)) for _ in range(2)]
    while runs:
        runs = [each for each in runs if next(each, None) is not None]
    both = 2 * len(HOSTS)
    assert world.counts(READINGS) == {-day: both for day in range(4)}
    assert world.counts(60) == {0: both, -1: both}
    assert world.counts(HOUR) == {-day: both for day in range(5)} | {0: len(HOSTS)}
    assert world.counts(DAY) == {-day: both for day in range(1, 7)}


def test_all_is_kept_for_ever_if_it_is_set_so_and_merged_all_the_same(world: World) -> None:
    steps = run(world, kept=Retention(None, None, None, None))
    assert {each.action for each in steps} == {Action.MERGE}
    assert len(world.counts(READINGS)) == len(world.counts(60)) == 10
    assert len(world.counts(DAY)) == 9
    assert all(mark.kept_since == 0 for mark in world.marks().values())


def test_what_would_be_deleted_is_counted_without_changes(world: World) -> None:
    expiring = {
        each.resolution: (each.before, each.rows) for each in world.retainer().expiring(NOON + span(HOUR))
    }
    both = 2 * len(HOSTS)
    assert expiring == {
        READINGS: (TODAY - 3 * span(DAY), 6 * both),
        60: (TODAY - span(DAY), 8 * both),
        HOUR: (TODAY - 4 * span(DAY), 0),
        DAY: (TODAY - 6 * span(DAY), 0),
    }
    assert len(world.counts(READINGS)) == 10
    assert set(world.marks().values()) == {Watermark()}


def test_no_transaction_is_open_while_what_would_be_deleted_is_shown(world: World) -> None:
    open_connections = [
        world.engine.pool.checkedout()  # type: ignore[attr-defined]
        for _ in world.retainer().expiring(NOON + span(HOUR))
    ]
    assert open_connections == [0] * 4


def test_nothing_is_merged_far_ahead_because_a_clock_is(world: World) -> None:
    activity = HostActivity("host-00", NAME, 1, NOON, NOON, NOON, NOON)
    record_activity(world.engine, [activity], NOON)
    list(world.retainer(KEPT_LONG).run(NOON + span(9000 * DAY)))
    marks = world.marks()
    assert marks[HOUR].merging_until <= NOON + span(2 * DAY)
    assert world.counts(DAY) == {-day: 2 * len(HOSTS) for day in range(10)}


def test_a_day_with_rows_is_searched_in_no_transaction(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In SQLite, nobody else could write meanwhile, and there may be very many series."""
    world.store(NOON - span(20 * DAY))
    open_connections: list[int] = []
    search = PluginRows.first_source

    def first_source(*arguments: Any) -> int | None:
        open_connections.append(world.engine.pool.checkedout())  # type: ignore[attr-defined]
        return search(*arguments)

    monkeypatch.setattr(PluginRows, "first_source", first_source)
    run(world, kept=KEPT_LONG)
    assert len(open_connections) > 3
    assert set(open_connections) == {0}
    assert world.counts(DAY) == {-20: 1} | {-day: 2 * len(HOSTS) for day in range(1, 10)}
