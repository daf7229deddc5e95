"""Counting samples, writing buckets and restoring them, with SQLite and a table whose changelog is in memory."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import pytest
from sqlalchemy import Connection, event, text

from sparkle_app.aggregate.aggregator import Aggregator
from sparkle_app.audit.renaming import Renaming
from sparkle_app.model.buckets import AggregateRow, Bucket, bucket_start
from sparkle_app.model.errors import TransientError
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.sample import Sample, Samples
from sparkle_app.model.time import LATEST, span
from sparkle_app.plugin_api import numeric
from sparkle_app.runtime.clock import WallClock
from sparkle_app.storage import engine as engines
from tests.support.aggregate_worker import (
    BUCKET_SECONDS,
    NAME,
    PLUGIN,
    RETENTION_SECONDS,
    AggregateWorker,
    Plain,
)
from tests.support.aggregate_world import AT, MINUTE, NOW, World
from tests.support.fake_clock import FakeClock


def samples_of(*readings: StoredReading) -> Samples:
    samples: Samples = {}
    for each in readings:
        samples.setdefault(each.hostname, []).append(Sample.of(each, each.value))
    return samples


def counts(changed: Any) -> dict[tuple[str, int], tuple[int, float]]:
    """Count and sum of each bucket, by hostname and minutes since the beginning."""
    return {
        (hostname, (start - AT) // MINUTE): (bucket.metrics["k"].count, bucket.metrics["k"].sum)
        for (hostname, start), bucket in changed.items()
    }


async def keep(world: World, *readings: StoredReading) -> None:
    """Count samples and write their buckets."""
    aggregator = world.worker.aggregator
    changed, _ = await aggregator.count([samples_of(*readings)])
    aggregator.update_table(changed)
    await world.worker.table.flush()
    await aggregator.store(changed)


async def test_a_sample_that_comes_again_counts_once(world: World) -> None:
    one, two = world.store(1.0, 2.0)
    changed, recomputed = await world.worker.aggregator.count(
        [samples_of(one, two, one), samples_of(two, one)]
    )
    assert (counts(changed), recomputed) == ({("a", 0): (2, 3.0)}, 1)
    await keep(world, one, two)
    changed, recomputed = await world.worker.aggregator.count([samples_of(two)])
    # Also a bucket that has counted it before: SQL may not have it yet.
    assert (counts(changed), recomputed) == ({("a", 0): (2, 3.0)}, 0)


async def test_counting_writes_nothing(world: World) -> None:
    (one,) = world.store(1.0)
    await keep(world, one)
    (two,) = world.store(2.0)
    await world.worker.aggregator.count([samples_of(two)])
    assert world.in_table() == {("a", 0): 1}
    assert world.in_sql() == {("a", 0): (1, 1.0)}


async def test_samples_are_counted_in_the_buckets_of_their_hosts_and_event_times(world: World) -> None:
    readings = [
        *world.store(1.0, at=AT),
        *world.store(2.0, at=AT + MINUTE - 1),
        *world.store(4.0, at=AT + MINUTE),
        *world.store(8.0, at=AT - 1),
        *world.store(16.0, at=AT, hostname="b"),
    ]
    changed, recomputed = await world.worker.aggregator.count([samples_of(*readings)])
    assert counts(changed) == {
        ("a", 0): (2, 3.0),
        ("a", 1): (1, 4.0),
        ("a", -1): (1, 8.0),
        ("b", 0): (1, 16.0),
    }
    assert recomputed == 4


async def test_a_bucket_that_the_table_lacks_has_all_that_was_stored(world: World) -> None:
    _, two, _ = world.store(1.0, 2.0, 4.0)
    world.store(8.0, hostname="b")
    world.store(16.0, at=AT + MINUTE)
    changed, recomputed = await world.worker.aggregator.count([samples_of(two)])
    assert (counts(changed), recomputed) == ({("a", 0): (3, 7.0)}, 1)


async def test_a_bucket_that_the_table_holds_is_not_read_from_sql(world: World) -> None:
    one, two = world.store(1.0, 2.0)
    await keep(world, one)
    with world.engine.begin() as connection:
        connection.execute(text("DROP TABLE memory_readings_data"))
    changed, recomputed = await world.worker.aggregator.count([samples_of(two)])
    assert (counts(changed), recomputed) == ({("a", 0): (2, 3.0)}, 0)


@pytest.mark.parametrize("readings", [0, 1])
async def test_a_database_that_does_not_work_is_a_transient_error(world: World, readings: int) -> None:
    stored = world.store(1.0)
    changed, _ = await world.worker.aggregator.count([samples_of(*stored)])
    with world.engine.begin() as connection:
        connection.execute(text("DROP TABLE memory_aggregates_data"))
        connection.execute(text("DROP TABLE memory_readings_data"))
    with pytest.raises(TransientError):
        await world.worker.aggregator.count([samples_of(*stored)])
    with pytest.raises(TransientError):
        await world.worker.aggregator.store(changed)
    with pytest.raises(TransientError):
        await world.worker.aggregator.restore(world.worker.app.consumer_generation_id)


async def test_no_samples_change_nothing(world: World) -> None:
    with world.engine.begin() as connection:
        connection.execute(text("DROP TABLE memory_aggregates_data"))
    assert await world.worker.aggregator.count([{}, {}]) == ({}, 0)
    await world.worker.aggregator.store({})


async def test_the_table_keeps_the_retention_and_one_bucket_more_and_sql_keeps_all(world: World) -> None:
    reach = RETENTION_SECONDS // BUCKET_SECONDS
    ages = (0, reach - 1, reach, reach + 1, reach + 100)
    readings = [each for age in ages for each in world.store(1.0, at=AT - age * MINUTE)]
    await keep(world, *readings)
    assert set(world.in_table()) == {("a", 0), ("a", 1 - reach), ("a", -reach)}
    assert set(world.in_sql()) == {("a", -age) for age in ages}
    # The table has been pruned by now.
    await keep(world, *world.store(1.0, at=AT - (reach + 1) * MINUTE))
    assert set(world.in_table()) == {("a", 0), ("a", 1 - reach), ("a", -reach)}


async def test_buckets_leave_the_table_as_time_passes(world: World) -> None:
    await keep(world, *world.store(1.0), *world.store(1.0, at=AT + MINUTE))
    # The last moment at which a window of the whole retention touches the first bucket, by a clock that is 10 s behind.
    world.clock.now = NOW + RETENTION_SECONDS + 69.999
    await keep(world, *world.store(1.0, hostname="b", at=AT + 5 * MINUTE))
    assert set(world.in_table()) == {("a", 0), ("a", 1), ("b", 5)}
    world.clock.now = NOW + RETENTION_SECONDS + 70
    await keep(world, *world.store(1.0, hostname="b", at=AT + 5 * MINUTE))
    assert set(world.in_table()) == {("a", 1), ("b", 5)}
    await world.restart()
    assert set(world.in_table()) == {("a", 1), ("b", 5)}


async def test_a_step_of_the_clock_prunes_nothing(world: World) -> None:
    elapsed = FakeClock(0.0)
    world.worker.aggregator._clock = WallClock(world.clock, elapsed).now
    await keep(world, *world.store(1.0), *world.store(1.0, at=AT + MINUTE))
    world.clock.now += 7200
    await keep(world, *world.store(1.0, at=AT + MINUTE))
    await world.worker.pipeline.restore()
    world.clock.now -= 7200 - 5
    elapsed.now += 5
    await keep(world, *world.store(1.0))
    assert world.in_table() == {("a", 0): 2, ("a", 1): 2}


async def test_buckets_that_a_clock_ahead_has_pruned_are_restored(world: World) -> None:
    await keep(world, *world.store(1.0), *world.store(1.0, at=AT + MINUTE))
    world.clock.now += 7200
    await keep(world, *world.store(1.0, at=AT + 120 * MINUTE))
    assert set(world.in_table()) == {("a", 120)}
    world.clock.now -= 7200
    await world.worker.pipeline.restore()
    assert set(world.in_table()) == {("a", 0), ("a", 1), ("a", 120)}
    assert world.worker.table.pruned_before <= AT


async def test_rows_are_upserted_in_the_order_of_host_and_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    upserted: list[tuple[str, int]] = []

    def store_aggregates(self: Plain, connection: Connection, rows: Sequence[AggregateRow]) -> None:
        upserted.extend((row.hostname, (row.bucket_start - AT) // MINUTE) for row in rows)

    monkeypatch.setattr(Plain, "store_aggregates", store_aggregates)
    readings = [
        each
        for hostname in ("c", "a", "b")
        for age in (0, 2, 1)
        for each in world.store(1.0, hostname=hostname, at=AT - age * MINUTE)
    ]
    await keep(world, *readings)
    assert upserted == [(hostname, -age) for hostname in ("a", "b", "c") for age in (2, 1, 0)]


async def test_a_late_upsert_with_fewer_readings_changes_nothing(world: World) -> None:
    (one,) = world.store(1.0)
    await keep(world, one)
    late, _ = await world.worker.aggregator.count([samples_of(one)])
    await keep(world, *world.store(2.0))
    assert counts(late) == {("a", 0): (1, 1.0)}
    await world.worker.aggregator.store(late)
    assert world.in_sql() == {("a", 0): (2, 3.0)}


async def test_a_restore_takes_from_sql_what_the_table_lacks_and_leaves_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = [*world.store(1.0), *world.store(2.0, at=AT + MINUTE), *world.store(4.0, hostname="b")]
    await keep(world, *readings)
    lost = ("b", bucket_start(AT, BUCKET_SECONDS))
    world.worker.table.data.pop(lost)
    read: list[str] = []
    load_readings = Plain.load_readings

    def noted(self: Plain, connection: Connection, hostnames: Sequence[str], *scope: Any) -> Any:
        read.extend(hostnames)
        return load_readings(self, connection, hostnames, *scope)

    monkeypatch.setattr(Plain, "load_readings", noted)
    await world.worker.pipeline.restore()
    assert read == ["b"]
    assert world.in_table() == {("a", 0): 1, ("a", 1): 1, ("b", 0): 1}


def give(world: World, old: str, new: str) -> None:
    """Give the readings of a host to another one."""
    renaming = Renaming({NAME: PLUGIN}, old, new)
    renaming.count_pending(world.engine, BUCKET_SECONDS)
    with world.engine.begin() as connection:
        renaming.apply(connection, BUCKET_SECONDS)
    with world.engine.connect() as connection:
        # A transaction that fails forgets the series that it knew, as a worker does that starts.
        connection.execute(text("SELECT 1"))
        connection.rollback()


async def test_a_sample_whose_reading_was_given_to_another_host_is_not_counted(world: World) -> None:
    readings = world.store(1.0, 2.0)
    give(world, "a", "b")
    await keep(world, *readings)
    assert (world.in_table(), world.in_sql()) == ({}, {("b", 0): (2, 3.0)})
    # It comes back.
    await keep(world, *world.store(4.0))
    assert world.in_table() == {("a", 0): 1}
    assert world.in_sql() == {("a", 0): (1, 4.0), ("b", 0): (2, 3.0)}


async def test_a_restore_follows_readings_that_were_given_to_another_host(world: World) -> None:
    await keep(
        world, *world.store(1.0, 2.0), *world.store(3.0, at=AT + MINUTE), *world.store(4.0, hostname="c")
    )
    give(world, "a", "b")
    await keep(world, *world.store(4.0, hostname="c", at=AT + MINUTE))
    # It comes back with one reading, which is not in the table yet.
    world.store(5.0)
    await world.restart()
    assert world.in_table() == {("b", 0): 2, ("b", 1): 1, ("c", 0): 1, ("c", 1): 1, ("a", 0): 1}
    await world.restart()
    assert world.in_table() == {("b", 0): 2, ("b", 1): 1, ("c", 0): 1, ("c", 1): 1, ("a", 0): 1}


async def test_a_restore_keeps_no_snapshot_for_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for minute in range(3):
        await world.count(1.0, 2.0, at=AT - minute * MINUTE)
    # A host whose clock is ahead.
    await world.count(4.0, at=AT + 500 * MINUTE)
    expected = world.in_table()
    assert sum(expected.values()) == 7
    begun: list[object] = []
    event.listen(world.engine, "begin", begun.append)
    world.worker.table.data.clear()
    monkeypatch.setattr(engines, "_SNAPSHOT_SECONDS", 0)
    await world.worker.pipeline.restore()
    assert world.in_table() == expected
    # One for the watermarks, and for each time range and bucket.
    assert len(begun) == 1 + 6 + 4


@pytest.mark.parametrize(("bucket_size", "retention"), [(60, 3600), (60, 60), (60, 86_400 * 7), (7, 100)])
def test_what_is_restored_has_no_gaps(world: World, bucket_size: int, retention: int) -> None:
    own = world.worker.aggregator
    aggregator = Aggregator(
        NAME, PLUGIN, own._table, world.engine, own._executor, bucket_size, retention, lambda: NOW
    )
    oldest = aggregator._oldest()
    ranges = list(aggregator._ranges(oldest))
    assert (ranges[0][0], ranges[-1][1]) == (oldest, LATEST)
    assert len(ranges) <= 60
    for (start, end), (following, _) in pairwise(ranges):
        assert start < end == following
        assert bucket_start(end, bucket_size) == end
    # None is much longer than the others.
    assert ranges[-1][0] >= AT - span(retention // 60 + 3 * bucket_size)


async def test_a_restore_leaves_out_what_no_window_reaches_and_hosts_of_other_workers(world: World) -> None:
    old = AT - 100 * MINUTE
    await keep(world, *world.store(1.0, hostname="a"), *world.store(1.0, hostname="d"))
    await keep(world, *world.store(1.0, at=old))
    second = AggregateWorker(world.broker, world.engine, world.clock)
    await second.start()
    await world.worker.app.rebalance()
    # "a" and "d" are in different partitions.
    assert sorted(worker.table.hostnames() for worker in (world.worker, second)) == [["a"], ["d"]]
    for worker in (world.worker, second):
        await worker.pipeline.restore()
        assert len(worker.table.data) == 1


async def test_a_restore_that_a_rebalance_overtakes_writes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(world, *world.store(1.0))
    world.worker.table.data.clear()
    count_aggregates = Plain.count_aggregates

    def overtaken(self: Plain, *arguments: Any) -> Any:
        world.worker.app.consumer_generation_id += 1
        return count_aggregates(self, *arguments)

    monkeypatch.setattr(Plain, "count_aggregates", overtaken)
    await world.worker.pipeline.restore()
    assert world.in_table() == {}


async def test_a_restore_that_is_retried_after_a_rebalance_writes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(world, *world.store(1.0))
    world.worker.table.data.clear()
    attempts: list[int] = []
    count_aggregates = Plain.count_aggregates

    def overtaken(self: Plain, *arguments: Any) -> Any:
        attempts.append(1)
        if len(attempts) == 1:
            world.worker.app.consumer_generation_id += 1
            raise OSError("unreachable")
        return count_aggregates(self, *arguments)

    monkeypatch.setattr(Plain, "count_aggregates", overtaken)
    await world.worker.pipeline.restore()
    assert (world.in_table(), len(attempts)) == ({}, 1)


@pytest.mark.parametrize("reached", [False, True])
async def test_a_restore_that_begins_after_the_next_rebalance_writes_nothing(
    world: World, reached: bool
) -> None:
    """The consumer knows the new generation before the tables do."""
    await keep(world, *world.store(1.0))
    world.worker.table.data.clear()
    app = cast(Any, world.worker.app)
    app.consumer_generation_id += 1
    if reached:
        app.tables.recovery._generation_id += 1
        app.tables.recovery.signal_recovery_start.set()
    await world.worker.pipeline.restore()
    assert world.in_table() == {}


async def test_the_next_recovery_may_change_the_table_during_a_restore(world: World) -> None:
    data = cast(dict[tuple[str, int], bytes], world.worker.table.data)

    class Key(tuple[str, int]):
        """A key that makes a recovery add another one when a restore looks at it."""

        __slots__ = ()

        def __getitem__(self, index: Any) -> Any:
            data["b", AT] = b""
            return super().__getitem__(index)

    data[Key(("a", AT))] = Bucket().pack()
    await world.worker.pipeline.restore()
    assert set(data) == {("b", AT)}


async def test_readings_without_a_number_are_left_out_when_a_bucket_is_recomputed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = world.store(1.0, -1.0)
    monkeypatch.setattr(
        Plain, "numeric_value", lambda _, reading: reading.value if reading.value > 0 else None
    )
    changed, _ = await world.worker.aggregator.count([samples_of(one)])
    assert counts(changed) == {("a", 0): (1, 1.0)}


@pytest.mark.parametrize("error", [KeyError, SystemExit])
async def test_older_readings_without_a_number_are_left_out_and_logged_once(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: type[BaseException],
) -> None:
    _, one, _ = world.store(1.0, 2.0, 3.0)

    def of_a_new_version(_: Plain, reading: StoredReading) -> float:
        if reading.value != 2.0:
            raise error
        return 20.0

    monkeypatch.setattr(numeric, "_logged", set())
    monkeypatch.setattr(Plain, "numeric_value", of_a_new_version)
    changed, _ = await world.worker.aggregator.count([samples_of(one)])
    assert counts(changed) == {("a", 0): (1, 20.0)}
    # As `verify` and `rebuild` compute it.
    with world.engine.connect() as connection:
        (row,) = PLUGIN.compute_aggregates(connection, ["a"], BUCKET_SECONDS, AT, AT + MINUTE)
    assert (row.statistics.count, row.statistics.sum) == (1, 20.0)
    (line,) = caplog.messages
    assert (
        f"numeric_value raised {error.__name__} for a stored reading (topic telemetry, partition 0, offset 0)"
        in line
    )
