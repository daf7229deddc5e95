"""Hours and days outlive changes of the bucket size."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.retention import DAY, HOUR, READINGS, Retention, merged_resolutions
from sparkle_app.model.time import span
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.models import RETENTION
from sparkle_app.storage.names import create_series
from tests.support.aggregate_worker import PLUGIN
from tests.support.retention_world import NOON, TODAY, World, run, ten_days


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Ten days of readings, two of a host on each day."""
    with ten_days(tmp_path) as world:
        yield world


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
