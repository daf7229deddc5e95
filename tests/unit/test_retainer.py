"""Retention of one plugin: what it merges and deletes, interruptions, and writes of workers in between."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection

from sparkle_app.audit.renaming import Renaming
from sparkle_app.model.buckets import AggregateRow, Statistics, bucket_start
from sparkle_app.model.errors import TransientError
from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.retention import DAY, HOUR, READINGS, Retention, Watermark, merged_resolutions
from sparkle_app.model.time import LATEST, span
from sparkle_app.plugin.merging import merged_rows, store_buckets
from sparkle_app.plugin_api import Plugin
from sparkle_app.retention import merging, steps
from sparkle_app.retention.plugin_rows import PluginRows
from sparkle_app.retention.retainer import GRACE_SECONDS, Retainer
from sparkle_app.retention.steps import Action, Step
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.hosts import record_activity
from sparkle_app.storage.models import RETENTION
from sparkle_app.storage.names import create_series
from sparkle_app.storage.retention import advance, watermarks
from tests.support.aggregate_worker import NAME, PLUGIN, Aggregates, DataFrame, plain_reading, sqlite_engine

NOON = 1_764_072_000_000_000
TODAY = NOON - span(DAY // 2)
KEPT = Retention(3 * DAY, DAY, 4 * DAY, 6 * DAY)
KEPT_LONG = Retention(10_000 * DAY, 10_000 * DAY, 10_000 * DAY, 10_000 * DAY)
HOSTS = [f"host-{number:02}" for number in range(12)]


class World:
    def __init__(self, folder: Path, plugin: Plugin = PLUGIN, bucket_size: int = 60) -> None:
        self.engine = sqlite_engine(folder)
        self.plugin = plugin
        self.bucket_size = bucket_size
        self.number = 0

    def retainer(self, kept: Retention = KEPT, plugin: Plugin | None = None) -> Retainer:
        return Retainer(NAME, plugin or self.plugin, self.engine, self.bucket_size, kept)

    def store(self, at: int, *hostnames: str) -> None:
        """A reading of each host arrives, and its bucket is recomputed."""
        hosts = hostnames or ("host-00",)
        readings = [
            plain_reading(number, hostname, "k", at, float(number))
            for number, hostname in enumerate(hosts, self.number)
        ]
        self.number += len(hosts)
        start = at - at % span(self.bucket_size)
        end = start + span(self.bucket_size)
        with self.engine.begin() as connection:
            marks = watermarks(connection, NAME, self.bucket_size, lock=True)
            if not marks.accepts(at):
                return
            self.plugin.store_readings(connection, readings)
        with self.engine.begin() as connection:
            marks = watermarks(connection, NAME, self.bucket_size, lock=True)
            rows = self.plugin.compute_aggregates(connection, hosts, self.bucket_size, start, end)
            store_buckets(self.plugin, connection, marks, list(rows))

    def counts(self, resolution: int) -> dict[int, int]:
        """The number of readings of all hosts, by the days and hours before noon."""
        found: dict[int, int] = {}
        with read_transaction(self.engine) as connection:
            if resolution == READINGS:
                for each in self.plugin.load_readings(connection, HOSTS, 0, NOON + span(DAY)):
                    day = (each.observed_at - TODAY) // span(DAY)
                    found[day] = found.get(day, 0) + 1
            else:
                for _, start, count in self.plugin.count_aggregates(
                    connection, resolution, 0, NOON + span(DAY)
                ):
                    day = (start - TODAY) // span(DAY)
                    found[day] = found.get(day, 0) + count
        return found

    def marks(self) -> dict[int, Watermark]:
        with read_transaction(self.engine) as connection:
            return dict(watermarks(connection, NAME, self.bucket_size).known)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Ten days of readings, two of a host on each day."""
    world = World(tmp_path)
    for day in range(10):
        for at in (0, 1):
            world.store(NOON - day * span(DAY) - at * span(HOUR), *HOSTS)
    yield world
    world.engine.dispose()


def run(world: World, **options: Any) -> list[Step]:
    return list(world.retainer(**options).run(NOON + span(HOUR)))


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


def test_buckets_of_a_former_size_expire_with_the_others(world: World) -> None:
    with world.engine.begin() as connection:
        create_series(connection, [("host-00", "k")], 300)
        rows = [
            AggregateRow("host-00", "k", 300, NOON - day * span(DAY), Statistics(1, 1.0, 1.0, 1.0, 1.0, NOON))
            for day in range(10)
        ]
        PLUGIN.store_aggregates(connection, rows)
    expiring = {each.resolution: each for each in world.retainer().expiring(NOON + span(HOUR))}
    assert (expiring[300].before, expiring[300].rows) == (expiring[60].before, 8)
    run(world)
    assert world.counts(300) == {0: 1, -1: 1}
    assert 300 not in {each.resolution for each in world.retainer().expiring(NOON + span(HOUR))}


def test_buckets_that_do_not_divide_an_hour_are_only_deleted(tmp_path: Path) -> None:
    world = World(tmp_path, bucket_size=7)
    for day in range(3):
        world.store(NOON - day * span(DAY))
    run(world)
    assert set(world.marks()) == {READINGS, 7}
    assert world.counts(7) == {0: 1, -1: 1}


@pytest.mark.parametrize("bucket_size", [420, 2700, HOUR])
def test_hours_and_days_outlive_a_change_of_the_bucket_size(world: World, bucket_size: int) -> None:
    run(world)
    hours, days = world.counts(HOUR), world.counts(DAY)
    assert min(hours) == -4
    assert min(days) == -6
    world.bucket_size = bucket_size
    run(world)
    assert world.counts(60) == {0: 24, -1: 24}
    assert world.counts(HOUR) == hours
    assert world.counts(DAY) == days
    # As long as hours are kept.
    world.bucket_size = HOUR
    list(world.retainer().run(NOON + span(HOUR)))
    assert world.counts(HOUR) == hours


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


class OwnRows(Plugin):
    """A plugin that keeps its rows itself, and does not delete them."""

    DataFrame = DataFrame
    Aggregates = Aggregates

    def load_readings(self, *arguments: Any, **named: Any) -> Iterable[StoredReading]:
        return super().load_readings(*arguments, **named)

    def load_aggregates(self, *arguments: Any, **named: Any) -> Iterable[AggregateRow]:
        return super().load_aggregates(*arguments, **named)


class Deleting(OwnRows):
    """One that deletes them, a few at a time."""

    def expire_readings(self, connection: Connection, before: int, limit: int) -> int:
        assert limit > 100
        found = [each.id for each in self.load_readings(connection, HOSTS, 0, before)][:100]
        data = DataFrame.metadata.tables["memory_readings_data"]
        connection.execute(data.delete().where(data.c.id.in_(found)))
        return len(found)

    def expire_aggregates(self, connection: Connection, resolution: int, before: int, limit: int) -> int:
        rows = self.load_aggregates(connection, HOSTS, None, resolution, 0, before)
        keys = [(row.hostname, row.bucket_start, row.metric) for row in rows][:limit]
        self.delete_aggregates(connection, resolution, keys)
        return len(keys)


def test_a_plugin_that_stores_its_rows_itself_deletes_them_itself(world: World) -> None:
    assert world.retainer(plugin=Deleting()).keeps_its_own() == []
    run(world, plugin=Deleting())
    both = 2 * len(HOSTS)
    assert world.counts(READINGS) == {-day: both for day in range(4)}
    assert world.counts(60) == {0: both, -1: both}
    assert world.counts(DAY) == {-day: both for day in range(1, 7)}


def test_a_plugin_that_does_not_delete_its_rows_keeps_them(world: World) -> None:
    assert world.retainer(plugin=OwnRows()).keeps_its_own() == ["readings", "aggregates"]
    run(world, plugin=OwnRows())
    assert len(world.counts(READINGS)) == len(world.counts(60)) == 10
    assert len(world.counts(DAY)) == 9
    assert all(mark.kept_since == 0 for mark in world.marks().values())


@pytest.mark.parametrize("sizes", [(60, 3600, 60), (3600, 60, 3600), (2400, 60, 2400), (60, 86_400, 60)])
def test_hours_and_days_are_exact_after_changes_of_the_bucket_size(
    tmp_path: Path, sizes: tuple[int, ...]
) -> None:
    world = World(tmp_path)
    forever = Retention(None, None, None, None)
    for part, size in enumerate(sizes):
        world.bucket_size = size
        # Each size begins in the middle of an hour of a day.
        first = NOON + part * span(DAY)
        for minute in (30, 50, 90, 600, 1440):
            world.store(first + minute * span(60), "host-00")
        # Late: of hours before and after the last change.
        for earlier in (first, first - span(DAY)):
            world.store(earlier + 40 * span(60), "host-00")
        if part < 2:
            list(world.retainer(forever).run(first + span(DAY // 2) + span(HOUR)))
            for earlier in (first, first - span(DAY)):
                world.store(earlier + 41 * span(60), "host-00")
            world.store(first + span(DAY) + 20 * span(60), "host-00")
    list(world.retainer(forever).run(NOON + 5 * span(DAY)))
    for resolution in merged_resolutions(sizes[-1]):
        scope = ["host-00"], resolution, TODAY - span(DAY), NOON + 9 * span(DAY)
        with read_transaction(world.engine) as connection:
            computed = {
                each.bucket_start: each.statistics for each in PLUGIN.compute_aggregates(connection, *scope)
            }
            stored = {
                each.bucket_start: each.statistics
                for each in PLUGIN.load_aggregates(connection, scope[0], None, *scope[1:])
            }
        assert {at: each.count for at, each in stored.items()} == {
            at: each.count for at, each in computed.items()
        }
        assert stored == computed


@pytest.mark.parametrize("watermarks_before", [True, False])
def test_hosts_that_were_off_before_the_bucket_size_was_changed_have_hours_and_days(
    tmp_path: Path, watermarks_before: bool
) -> None:
    world = World(tmp_path)
    world.store(NOON - span(DAY), "host-00")
    world.bucket_size = 120
    world.store(NOON, "host-01")
    if not watermarks_before:
        # The size was changed when there was no retention.
        with world.engine.begin() as connection:
            connection.execute(RETENTION.delete())
    list(world.retainer(Retention(None, None, None, None)).run(NOON + span(DAY)))
    assert world.counts(HOUR) == world.counts(DAY) == {-1: 1, 0: 1}


@pytest.mark.parametrize("new", ["host-01", "other"])
def test_a_host_that_is_renamed_meanwhile_is_counted_once(tmp_path: Path, new: str) -> None:
    world = World(tmp_path)
    world.store(NOON - span(DAY), "host-00", "host-01")
    renaming: list[Future[None]] = []

    def rename() -> None:
        with world.engine.begin() as connection:
            Renaming({NAME: PLUGIN}, "host-00", new).apply(connection, 60)

    class Renamed(Plugin):
        DataFrame = DataFrame
        Aggregates = Aggregates

        def load_aggregates(self, *arguments: Any, **named: Any) -> Iterable[AggregateRow]:
            rows = list(super().load_aggregates(*arguments, **named))
            if not renaming:
                renaming.append(threads.submit(rename))
                # Ends now if it can.
                wait(renaming, timeout=0.3)
            return rows

    forever = Retention(None, None, None, None)
    with ThreadPoolExecutor() as threads:
        list(world.retainer(forever, Renamed()).run(NOON + span(HOUR)))
        renaming[0].result()
    assert world.counts(HOUR) == world.counts(DAY) == {-1: 2}
    with read_transaction(world.engine) as connection:
        for resolution in (HOUR, DAY):
            found = PLUGIN.load_aggregates(connection, ["host-00"], None, resolution, 0, NOON)
            assert list(found) == []


def test_a_host_that_is_renamed_while_many_days_are_merged_has_all_hours(world: World) -> None:
    """They are merged at once after a long pause: the new name may be unknown to who merges them."""
    marks = world.marks()
    assert marks[HOUR].merged_until == 0
    for resolution in (HOUR, DAY):
        for name in ("merging_until", "merged_until"):
            until = NOON - span(20 * DAY) if name == "merged_until" else NOON
            advance(world.engine, NAME, resolution, **{name: bucket_start(until, resolution)})
    with world.engine.begin() as connection:
        Renaming({NAME: PLUGIN}, "host-00", "new").apply(connection, 60)
    with read_transaction(world.engine) as connection:
        hours = list(PLUGIN.load_aggregates(connection, ["new"], None, HOUR, 0, NOON))
        days = list(PLUGIN.load_aggregates(connection, ["new"], None, DAY, 0, NOON))
    assert sum(row.statistics.count for row in hours) == 19
    assert sum(row.statistics.count for row in days) == 18
