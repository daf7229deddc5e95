"""Aggregates that rebuild and import have changed stay exact while a worker goes on counting."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from aiokafka import TopicPartition
from sqlalchemy import Connection

from sparkle_app.audit.auditor import Auditor
from sparkle_app.audit.renaming import Renaming
from sparkle_app.kafka.topology import partition_of
from sparkle_app.model.buckets import bucket_start
from sparkle_app.model.retention import DAY, HOUR
from sparkle_app.model.time import EARLIEST, LATEST, from_seconds, span
from sparkle_app.plugin.merging import store_buckets
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.dialects.sqlite import Sqlite
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.retention import advance, watermarks, watermarks_to_rebuild
from sparkle_app.transfer.importing import Importer
from sparkle_app.transfer.layouts import Rows
from tests.support.aggregate_worker import (
    BUCKET_SECONDS,
    CHANGELOG,
    CIPHER,
    NAME,
    PARTITIONS,
    PLUGIN,
    SAMPLES,
    DataFrame,
    Plain,
    plain_reading,
)
from tests.support.aggregate_world import AT as OLD
from tests.support.aggregate_world import World

AT = bucket_start(from_seconds(time.time()), BUCKET_SECONDS)
ONE = [1.0]


@pytest.fixture
def present(world: World) -> World:
    """Whether a table may hold a bucket is decided by the real time."""
    world.clock.now = AT / 1_000_000 + 30
    return world


def import_readings(world: World, number: int) -> None:
    readings = [plain_reading(10_000 + n, "a", "k", AT, 1.0) for n in range(number)]
    assert Importer(NAME, PLUGIN, world.engine, BUCKET_SECONDS).insert(Rows.READINGS, readings) == number


def rebuild(world: World) -> int:
    auditor = Auditor(NAME, PLUGIN, world.engine, BUCKET_SECONDS)
    return sum(auditor.repair(each) for each in auditor.compare(auditor.scope(EARLIEST, LATEST)))


def import_aggregates(world: World) -> int:
    with read_transaction(world.engine) as connection:
        rows = list(
            PLUGIN.compute_aggregates(connection, ["a"], BUCKET_SECONDS, AT, AT + BUCKET_SECONDS * 10**6)
        )
    return Importer(NAME, PLUGIN, world.engine, BUCKET_SECONDS).insert(Rows.AGGREGATES, rows)


def counted(world: World) -> set[int]:
    return {count for count, _ in world.in_sql().values()}


@pytest.mark.parametrize("aggregate", [rebuild, import_aggregates])
@pytest.mark.parametrize("batch", [5, 25])
async def test_imported_readings_stay_counted(
    present: World, aggregate: Callable[[World], int], batch: int
) -> None:
    await present.count(*ONE * 40, at=AT)
    import_readings(present, 20)
    assert aggregate(present) == 1
    assert counted(present) == {60}
    await present.count(*ONE * batch, at=AT)
    assert counted(present) == {60 + batch}
    await present.count(*ONE * 20, at=AT)
    assert counted(present) == {80 + batch}
    assert set(present.in_table().values()) == {80 + batch}
    assert rebuild(present) == 0


async def test_readings_whose_samples_were_not_decoded_are_counted_once(present: World) -> None:
    await present.count(*ONE * 40, at=AT)
    present.store(*ONE * 20, at=AT)
    partition = partition_of("a", PARTITIONS)
    sealed = CIPHER.encrypt(b"\xc1", SAMPLES.encode())
    await present.broker.producer().send_and_wait(SAMPLES, sealed, partition=partition)
    await present.count(*ONE * 5, at=AT)
    assert counted(present) == {45}
    assert rebuild(present) == 1
    assert counted(present) == {65}
    await present.count(*ONE * 5, at=AT)
    assert counted(present) == {70}
    await present.count(*ONE * 5, at=AT)
    assert counted(present) == set(present.in_table().values()) == {75}


async def test_a_bucket_whose_readings_were_deleted_leaves_the_table(present: World) -> None:
    await present.count(*ONE * 3, at=AT)
    data = data_table(DataFrame.__table__)
    with present.engine.begin() as connection:
        connection.execute(data.delete())
        watermarks_to_rebuild(connection, NAME, BUCKET_SECONDS, [AT])
    # Of another bucket: the worker notices the change when it stores it.
    await present.count(*ONE, at=AT - span(BUCKET_SECONDS))
    assert len(present.in_table()) == 2
    # Its sample is redelivered.
    await present.forward(plain_reading(0, "a", "k", AT, 1.0).as_stored())
    await present.worker.work()
    assert len(present.in_table()) == 1


@pytest.mark.parametrize("point", ["count", "counted", "flush", "flushed", "store", "stored", "ack"])
async def test_a_rebuild_at_any_point_of_a_batch(present: World, point: str) -> None:
    await present.count(*ONE * 40, at=AT)

    async def do() -> None:
        import_readings(present, 20)
        assert rebuild(present) == 1

    present.points[point] = do
    await present.count(*ONE * 25, at=AT)
    assert not present.points
    await present.count(*ONE * 5, at=AT)
    assert counted(present) == {90}


@pytest.mark.parametrize("point", ["flushed", "store"])
async def test_a_restore_between_a_batch_and_its_write(present: World, point: str) -> None:
    await present.count(*ONE * 40, at=AT)
    import_readings(present, 20)
    rebuild(present)
    # The restore knows of the rebuild, the batch in progress does not.
    present.points[point] = present.worker.pipeline.restore
    await present.count(*ONE * 25, at=AT)
    assert counted(present) == {85}


@pytest.mark.parametrize("point", ["count", "counted", "flush", "flushed", "store", "stored"])
async def test_a_suspended_worker_stores_nothing_of_a_host_that_was_renamed(
    present: World, point: str
) -> None:
    await present.count(*ONE * 40, at=AT)

    async def replace_and_rename() -> None:
        # Another worker counts, and ends.
        await present.restart()
        await present.worker.work()
        assert counted(present) == {65}
        rename(present)

    suspended = present.worker
    present.points[point] = replace_and_rename
    await present.forward(*present.store(*ONE * 25, at=AT))
    await suspended.work()
    assert not present.points
    assert {host: count for (host, _), (count, _) in present.in_sql().items()} == {"b": 65}
    assert rebuild(present) == 0


def rename(world: World) -> None:
    renaming = Renaming({NAME: PLUGIN}, "a", "b")
    renaming.count_pending(world.engine, BUCKET_SECONDS)
    with world.engine.begin() as connection:
        renaming.apply(connection, BUCKET_SECONDS)


async def test_an_outdated_bucket_with_equally_many_readings_of_a_former_host_is_not_used(
    present: World,
) -> None:
    await present.count(1.0, 2.0, 3.0, at=AT)
    partition = partition_of("a", PARTITIONS)
    stale = present.broker.records(TopicPartition(CHANGELOG, partition))[-1]
    rename(present)
    await present.restart()
    # Its collector still sends the old name.
    await present.count(10.0, 20.0, 30.0, at=AT)
    await present.append_to_changelog(stale)
    await present.restart()
    await present.count(40.0, at=AT)
    found = {host: statistics for (host, _), statistics in present.in_sql().items()}
    assert found == {"a": (4, 100.0), "b": (3, 6.0)}
    assert rebuild(present) == 0


@pytest.mark.parametrize("restart_first", [False, True])
async def test_numbers_that_were_recomputed_in_another_way_are_those_of_the_table(
    present: World, monkeypatch: pytest.MonkeyPatch, restart_first: bool
) -> None:
    await present.count(*ONE * 3, at=AT)
    # A new version of the plugin.
    monkeypatch.setattr(type(PLUGIN), "numeric_value", lambda _, reading: reading.value * 100)
    if restart_first:
        await present.restart()
    assert rebuild(present) == 1
    if not restart_first:
        await present.restart()
    await present.count(1.0, at=AT)
    assert list(present.in_sql().values()) == [(4, 400.0)]
    assert rebuild(present) == 0


@pytest.mark.parametrize(("hours", "recomputed"), [(1, True), (3, False)])
async def test_a_rebuild_before_the_window_retention_is_none_of_the_table(
    present: World, monkeypatch: pytest.MonkeyPatch, hours: int, recomputed: bool
) -> None:
    rename(present)
    later = AT + hours * span(HOUR)
    present.clock.now += hours * HOUR
    await present.count(1.0, at=later)
    before = present.worker.buckets()
    read: list[Any] = []
    load_readings = type(PLUGIN).load_readings

    def count(*arguments: Any) -> Iterable[Any]:
        read.append(arguments)
        return load_readings(*arguments)

    monkeypatch.setattr(type(PLUGIN), "load_readings", count)
    await present.restart()
    assert bool(read) == recomputed
    assert present.worker.buckets() == before


async def test_a_bucket_that_counts_later_is_right_as_well(present: World) -> None:
    await present.count(*ONE * 40, at=AT)
    await present.count(*ONE * 40, at=AT, hostname="b")
    import_readings(present, 20)
    rebuild(present)
    await present.count(1.0, at=AT, hostname="b")
    await present.count(*ONE * 30, at=AT)
    assert {host: count for (host, _), (count, _) in present.in_sql().items()} == {"a": 90, "b": 41}


async def test_a_worker_that_restarts_before_the_rebuild_notices_it(present: World) -> None:
    await present.count(*ONE * 40, at=AT)
    import_readings(present, 20)
    await present.restart()
    rebuild(present)
    await present.count(*ONE * 30, at=AT)
    assert counted(present) == {90}


async def test_nothing_is_recomputed_without_a_rebuild(
    present: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await present.count(1.0, at=AT)
    assert rebuild(present) == 0
    read: list[Any] = []

    def load_readings(*arguments: Any) -> list[Any]:
        read.append(arguments)
        return []

    monkeypatch.setattr(type(PLUGIN), "load_readings", load_readings)
    await present.count(1.0, at=AT)
    assert read == []
    assert counted(present) == {2}


def arrive(connection: Connection, number: int) -> None:
    """Store a reading that is too old for the table, with the aggregates that contain it, as a worker does."""
    marks = watermarks(connection, NAME, BUCKET_SECONDS, lock=True)
    PLUGIN.store_readings(connection, [plain_reading(number, "a", "k", OLD, 1.0)])
    rows = list(PLUGIN.compute_aggregates(connection, ["a"], BUCKET_SECONDS, OLD, OLD + span(BUCKET_SECONDS)))
    store_buckets(PLUGIN, connection, marks, rows)


def counts(world: World, resolution: int) -> list[int]:
    with read_transaction(world.engine) as connection:
        rows = PLUGIN.load_aggregates(connection, ["a"], None, resolution, EARLIEST, LATEST)
        return [row.statistics.count for row in rows]


class Interrupted(Plain):
    """A worker stores a reading, with its aggregate, before aggregates are deleted, unless it is locked out.

    SQLite has one writer. Other databases let a worker commit between two statements.

    Arguments:
        waiting: numbers of readings.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, waiting: list[int]) -> None:
        self.waiting = waiting
        self.exclusive: list[bool] = []
        monkeypatch.setattr(Sqlite, "lock_row", lambda *_, shared: self.exclusive.append(not shared))

    def delete_aggregates(self, connection: Connection, *arguments: Any) -> None:
        if self.waiting and not any(self.exclusive):
            arrive(connection, self.waiting.pop())
        super().delete_aggregates(connection, *arguments)


def test_a_worker_cannot_store_an_aggregate_while_it_is_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = Interrupted(monkeypatch, waiting=[3])
    with world.engine.begin() as connection:
        arrive(connection, 1)
        (earlier,) = PLUGIN.load_aggregates(connection, ["a"], None, BUCKET_SECONDS, EARLIEST, LATEST)
        arrive(connection, 2)
    plugin.exclusive.clear()
    importer = Importer(NAME, plugin, world.engine, BUCKET_SECONDS)
    assert importer.replace_aggregates([earlier]) == 1
    with world.engine.begin() as connection:
        for number in plugin.waiting:
            arrive(connection, number)
    assert counts(world, BUCKET_SECONDS) == [3]


@pytest.mark.parametrize("damaged", [(HOUR,), (DAY,), (HOUR, DAY)])
def test_a_worker_cannot_store_an_hour_or_a_day_while_it_is_recomputed(
    world: World, monkeypatch: pytest.MonkeyPatch, damaged: Iterable[int]
) -> None:
    plugin = Interrupted(monkeypatch, waiting=[2])
    with world.engine.begin() as connection:
        arrive(connection, 1)
    for resolution in (HOUR, DAY):
        until = bucket_start(OLD, DAY) + span(DAY)
        advance(world.engine, NAME, resolution, merging_until=until, merged_until=until)
    with world.engine.begin() as connection:
        arrive(connection, 3)
        for resolution in damaged:
            PLUGIN.delete_aggregates(connection, resolution, [("a", bucket_start(OLD, resolution), "k")])
    plugin.exclusive.clear()
    auditor = Auditor(NAME, plugin, world.engine, BUCKET_SECONDS)
    for result in auditor.compare(auditor.scope(EARLIEST, LATEST)):
        auditor.repair(result)
    with world.engine.begin() as connection:
        for number in plugin.waiting:
            arrive(connection, number)
    exact = [counts(world, resolution) for resolution in (BUCKET_SECONDS, HOUR, DAY)]
    assert exact == [[3], [3], [3]]
    assert rebuild(world) == 0
