"""Aggregates that rebuild and import have changed stay exact while a worker goes on counting."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from sparkle_app.audit.auditor import Auditor
from sparkle_app.kafka.topology import partition_of
from sparkle_app.model.buckets import bucket_start
from sparkle_app.model.time import EARLIEST, LATEST, from_seconds
from sparkle_app.storage.engine import read_transaction
from sparkle_app.transfer.importing import Importer
from sparkle_app.transfer.layouts import AGGREGATES, READINGS
from tests.support.aggregate_worker import (
    BUCKET_SECONDS,
    CIPHER,
    NAME,
    PARTITIONS,
    PLUGIN,
    SAMPLES,
    plain_reading,
)
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
    assert Importer(NAME, PLUGIN, world.engine, BUCKET_SECONDS).insert(READINGS, readings) == number


def rebuild(world: World) -> int:
    auditor = Auditor(NAME, PLUGIN, world.engine, BUCKET_SECONDS)
    return sum(auditor.repair(each) for each in auditor.compare(auditor.scope(EARLIEST, LATEST)))


def import_aggregates(world: World) -> int:
    with read_transaction(world.engine) as connection:
        rows = list(
            PLUGIN.compute_aggregates(connection, ["a"], BUCKET_SECONDS, AT, AT + BUCKET_SECONDS * 10**6)
        )
    return Importer(NAME, PLUGIN, world.engine, BUCKET_SECONDS).insert(AGGREGATES, rows)


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
