"""Hours and days are exact merges of buckets, whatever comes late, in whichever order rows are merged and deleted."""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from sparkle_app.model.buckets import AggregateRow, Statistics, bucket_start
from sparkle_app.model.reading import Reading
from sparkle_app.model.retention import DAY, HOUR, READINGS, merged_resolutions
from sparkle_app.model.time import span
from sparkle_app.plugin.merging import merge, store_buckets
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.expiry import delete_buckets, delete_readings
from sparkle_app.storage.retention import advance, watermarks
from sparkle_app.transfer.importing import Importer
from sparkle_app.transfer.layouts import Rows
from tests.support.aggregate_worker import NAME, PLUGIN, Aggregates, DataFrame, plain_reading, sqlite_engine

MIDNIGHT = 1_764_028_800_000_000
HOSTS = ("a", "b")
Statistic = dict[tuple[str, str, int], Statistics]


class Overriding(Plugin):
    """A plugin whose aggregates are not read by the handler's statements."""

    DataFrame = DataFrame
    Aggregates = Aggregates

    def load_aggregates(self, *arguments: Any, **named: Any) -> Iterable[AggregateRow]:
        return super().load_aggregates(*arguments, **named)


class World:
    """Readings, and the aggregates that workers and retention store."""

    def __init__(self, engine: Engine, plugin: Plugin, bucket_size: int) -> None:
        self.engine = engine
        self.plugin = plugin
        self.bucket_size = bucket_size
        self.number = 0
        self.expired = 0

    def store(self, hostname: str, at: int, value: float) -> None:
        """A reading arrives, and its bucket is recomputed, as by a worker whose table lacks it."""
        self.number += 1
        reading = plain_reading(self.number, hostname, f"k{self.number % 2}", at, value)
        with self.engine.begin() as connection:
            marks = watermarks(connection, NAME, self.bucket_size, lock=True)
            if marks.accepts(at):
                self.plugin.store_readings(connection, [reading])
        self.aggregate(reading)

    def aggregate(self, reading: Reading) -> None:
        start = bucket_start(reading.observed_at, self.bucket_size)
        with self.engine.begin() as connection:
            marks = watermarks(connection, NAME, self.bucket_size, lock=True)
            end = start + span(self.bucket_size)
            rows = list(
                self.plugin.compute_aggregates(connection, [reading.hostname], self.bucket_size, start, end)
            )
            self.expired += store_buckets(self.plugin, connection, marks, rows)

    def merge(self, resolution: int, until: int) -> None:
        """As retention does: all days in one step."""
        with read_transaction(self.engine) as connection:
            since = watermarks(connection, NAME, self.bucket_size)[resolution].merged_until or MIDNIGHT
        advance(self.engine, NAME, resolution, merging_until=until)
        for start in range(since, until, span(resolution)):
            with self.engine.begin() as connection:
                marks = watermarks(connection, NAME, self.bucket_size)
                merge(self.plugin, connection, marks, HOSTS, resolution, start)
        advance(self.engine, NAME, resolution, merged_until=until)

    def expire(self, resolution: int, before: int) -> None:
        advance(self.engine, NAME, resolution, kept_since=before)
        with self.engine.begin() as connection:
            _delete(connection, resolution, before)
        advance(self.engine, NAME, resolution, deleted_until=before)

    def stored(self, resolution: int) -> Statistic:
        with read_transaction(self.engine) as connection:
            rows = self.plugin.load_aggregates(
                connection, HOSTS, None, resolution, MIDNIGHT, MIDNIGHT + 9 * span(DAY)
            )
            return {(row.hostname, row.metric, row.bucket_start): row.statistics for row in rows}

    def computed(self, resolution: int) -> Statistic:
        with read_transaction(self.engine) as connection:
            rows = self.plugin.compute_aggregates(
                connection, HOSTS, resolution, MIDNIGHT, MIDNIGHT + 9 * span(DAY)
            )
            return {(row.hostname, row.metric, row.bucket_start): row.statistics for row in rows}


def _delete(connection: Connection, resolution: int, before: int) -> None:
    if resolution == READINGS:
        delete_readings(connection, DataFrame.__table__, HOSTS, 0, before)
    else:
        delete_buckets(connection, Aggregates.__table__, HOSTS, resolution, 0, before)


def _world(folder: Path, plugin: Plugin = PLUGIN, bucket_size: int = 60) -> World:
    world = World(sqlite_engine(folder), plugin, bucket_size)
    with world.engine.begin() as connection:
        watermarks(connection, NAME, bucket_size, lock=True)
    return world


@pytest.mark.parametrize("plugin", [PLUGIN, Overriding()], ids=["own statements", "overriding"])
@pytest.mark.parametrize("bucket_size", [60, 2400, 3600])
@pytest.mark.parametrize("seed", range(8))
def test_hours_and_days_equal_the_aggregates_of_all_readings(
    tmp_path: Path, seed: int, bucket_size: int, plugin: Plugin
) -> None:
    chance = random.Random(seed)
    world = _world(tmp_path, plugin, bucket_size)
    days = 4
    for number in range(1, days):
        for _ in range(30):
            # Mostly of the last day; some come late.
            first = 0 if chance.random() < 0.3 else number - 1
            at = MIDNIGHT + chance.randrange(first * span(DAY), number * span(DAY))
            world.store(chance.choice(HOSTS), at, chance.choice((-1.5, 0.25, 1e300, 7.0)))
        for resolution in merged_resolutions(bucket_size):
            world.merge(resolution, MIDNIGHT + number * span(DAY))
        if chance.random() < 0.5:
            world.expire(bucket_size, MIDNIGHT + chance.randrange(number) * span(DAY))
    for _ in range(10):
        world.store(chance.choice(HOSTS), MIDNIGHT + chance.randrange(days * span(DAY)), 3.5)
    for resolution in merged_resolutions(bucket_size):
        stored = world.stored(resolution)
        until = MIDNIGHT + (days - 1) * span(DAY)
        expected = {key: each for key, each in world.computed(resolution).items() if key[2] < until}
        assert stored.keys() == expected.keys()
        for key, each in stored.items():
            other = expected[key]
            assert (each.count, each.minimum, each.maximum, each.last, each.last_at) == (
                other.count, other.minimum, other.maximum, other.last, other.last_at,
            )  # fmt: skip
            assert each.sum == pytest.approx(other.sum)
    assert len(expected) > 0
    assert world.expired == 0


def test_a_bucket_whose_readings_have_expired_changes_nothing(tmp_path: Path) -> None:
    world = _world(tmp_path)
    reading = plain_reading(99, "a", "k1", MIDNIGHT + 5, 1.0)
    for number in range(3):
        world.store("a", MIDNIGHT + number, 2.0)
    world.merge(HOUR, MIDNIGHT + span(DAY))
    world.merge(DAY, MIDNIGHT + span(DAY))
    before = {resolution: world.stored(resolution) for resolution in (60, HOUR, DAY)}
    advance(world.engine, NAME, READINGS, kept_since=MIDNIGHT + span(DAY))
    # Not deleted yet: the bucket is recomputed from those that are left.
    with world.engine.begin() as connection:
        assert delete_readings(connection, DataFrame.__table__, HOSTS, MIDNIGHT, MIDNIGHT + 1) == 1
    world.aggregate(reading)
    assert world.expired == 2
    assert {resolution: world.stored(resolution) for resolution in (60, HOUR, DAY)} == before


def test_an_hour_is_merged_from_readings_while_its_buckets_may_be_incomplete(tmp_path: Path) -> None:
    world = _world(tmp_path)
    world.store("a", MIDNIGHT + 1, 1.0)
    world.bucket_size = 120
    # The bucket of the other size has no reading since.
    world.store("a", MIDNIGHT + span(1800), 1.0)
    world.merge(HOUR, MIDNIGHT + span(HOUR))
    assert [each.count for each in world.stored(HOUR).values()] == [1, 1]
    assert sum(each.count for each in world.stored(120).values()) == 1


def test_incomplete_buckets_of_deleted_readings_are_not_lost(tmp_path: Path) -> None:
    world = _world(tmp_path)
    for number in range(3):
        world.store("a", MIDNIGHT + number, 1.0)
    world.bucket_size = 120
    world.store("a", MIDNIGHT + 3, 1.0)
    with world.engine.begin() as connection:
        # By hand, as the only way before there was retention.
        delete_readings(connection, DataFrame.__table__, HOSTS, MIDNIGHT, MIDNIGHT + 2)
    world.merge(HOUR, MIDNIGHT + span(HOUR))
    # The buckets count all four, the readings only the last two.
    assert sum(each.count for each in world.stored(HOUR).values()) == 4


def test_what_expires_is_neither_stored_nor_merged_again(tmp_path: Path) -> None:
    world = _world(tmp_path)
    world.store("a", MIDNIGHT + 1, 1.0)
    for resolution in (HOUR, DAY):
        world.merge(resolution, MIDNIGHT + 2 * span(DAY))
    for resolution in (60, HOUR):
        world.expire(resolution, MIDNIGHT + span(DAY))
    world.store("a", MIDNIGHT + 2, 1.0)
    world.store("a", MIDNIGHT + 3, 1.0)
    assert (world.stored(60), world.stored(HOUR)) == ({}, {})
    counts: Sequence[int] = [each.count for each in world.stored(DAY).values()]
    assert sorted(counts) == [1, 2]


def test_imported_buckets_and_hours_are_merged_into_what_was_merged_already(tmp_path: Path) -> None:
    world = _world(tmp_path)
    world.store("a", MIDNIGHT + 1, 1.0)
    for resolution in (HOUR, DAY):
        world.merge(resolution, MIDNIGHT + span(DAY))
    # The readings of the imported aggregates are not stored, and would have expired.
    advance(world.engine, NAME, READINGS, kept_since=MIDNIGHT + 9 * span(DAY))

    def row(hostname: str, resolution: int, start: int, count: int) -> AggregateRow:
        return AggregateRow(
            hostname, "k1", resolution, start, Statistics(count, float(count), 1.0, 1.0, 1.0, start)
        )

    importer = Importer(NAME, PLUGIN, world.engine, 60)
    rows = [
        row("a", 60, MIDNIGHT, 3),
        row("a", 60, MIDNIGHT + span(60), 2),
        row("b", HOUR, MIDNIGHT + span(HOUR), 7),
        # Of another size.
        row("a", 120, MIDNIGHT, 50),
        # Not merged yet.
        row("a", 60, MIDNIGHT + span(DAY), 1),
    ]
    assert importer.insert(Rows.AGGREGATES, rows) == len(rows)
    assert {key: each.count for key, each in world.stored(HOUR).items()} == {
        ("a", "k1", MIDNIGHT): 5,
        ("b", "k1", MIDNIGHT + span(HOUR)): 7,
    }
    assert {key: each.count for key, each in world.stored(DAY).items()} == {
        ("a", "k1", MIDNIGHT): 5,
        ("b", "k1", MIDNIGHT): 7,
    }
    assert importer.insert(Rows.AGGREGATES, rows) == 0
