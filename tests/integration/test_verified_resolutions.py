"""verify and rebuild of buckets, hours and days, where some of what they were computed from has expired."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from sparkle_app.audit.auditor import Auditor
from sparkle_app.audit.chunks import ChunkResult
from sparkle_app.audit.copies import audit_copy
from sparkle_app.audit.differences import AggregateKey
from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.retention import DAY, HOUR, READINGS
from sparkle_app.model.time import EARLIEST, LATEST, moment, span
from sparkle_app.plugin_api import Base, Plugin
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.engine import make_engine, read_transaction
from sparkle_app.storage.hosts import Host
from sparkle_app.storage.models import RETENTION, tables_of
from sparkle_app.storage.retention import advance, begin
from tests.support.contract import Aggregates, Readings, reading, store
from tests.support.database import EVERY_DATABASE
from tests.support.recomputation import recomputed

pytestmark = EVERY_DATABASE

MINUTE = 60
FIRST_DAY = 1_763_942_400_000_000
HOSTS = ("a", "b")
METRICS = ("k", "l")
DAYS = 3


class Default(Plugin):
    DataFrame = Readings
    Aggregates = Aggregates


class Overriding(Default):
    """All methods are its own; what they store is the same."""

    def store_aggregates(self, *arguments: Any, **named: Any) -> None:
        super().store_aggregates(*arguments, **named)

    def load_aggregates(self, *arguments: Any, **named: Any) -> Iterable[AggregateRow]:
        return super().load_aggregates(*arguments, **named)

    def count_aggregates(self, *arguments: Any, **named: Any) -> Iterable[tuple[str, int, int]]:
        return super().count_aggregates(*arguments, **named)

    def load_readings(self, *arguments: Any, **named: Any) -> Iterable[StoredReading]:
        return super().load_readings(*arguments, **named)


def day(number: int) -> int:
    return FIRST_DAY + number * span(DAY)


class World:
    """Three days of two hosts, all of it merged; then readings and buckets before some day expire."""

    def __init__(self, engine: Engine, plugin: Plugin) -> None:
        self.engine, self.plugin = engine, plugin
        self.auditor = Auditor("p", plugin, engine, MINUTE)
        Base.metadata.create_all(engine, tables=[Host.__table__, *tables_of(Readings, Aggregates)])
        with engine.begin() as connection:
            begin(connection, "p", MINUTE)
        self._readings = [
            reading(
                number,
                hostname=HOSTS[number % 2],
                key=METRICS[number // 2 % 2],
                value=0.1 + number % 7,
                observed_at=at,
            )
            # Two in a minute, the last second of an hour and of a day among them.
            for number, at in enumerate(
                sorted(
                    day(number) + span(seconds)
                    for number in range(DAYS)
                    for second in range(0, DAY, 4999)
                    for seconds in (second, second + 1, second // HOUR * HOUR + HOUR - 1)
                    for _ in range(4)
                )
            )
        ]
        store(engine, self._readings)
        self.expected = {size: self._recomputed(size) for size in (MINUTE, HOUR, DAY)}
        self.write(each for rows in self.expected.values() for each in rows.values())
        for resolution in (HOUR, DAY):
            advance(engine, "p", resolution, merging_until=day(DAYS), merged_until=day(DAYS))

    def _recomputed(self, size: int) -> dict[AggregateKey, AggregateRow]:
        stored = [each.as_stored() for each in self._readings]
        return {
            AggregateKey(host, start, metric, size): AggregateRow(host, metric, size, start, Statistics(*of))
            for (host, start), metrics in recomputed(stored, span(size)).items()
            for metric, of in metrics.items()
        }

    def write(self, rows: Iterable[AggregateRow]) -> None:
        with self.engine.begin() as connection:
            self.plugin.store_aggregates(connection, list(rows))

    def delete(self, resolution: int, keys: Iterable[AggregateKey]) -> None:
        with self.engine.begin() as connection:
            names = [(key.hostname, key.start, key.metric) for key in keys]
            self.plugin.delete_aggregates(connection, resolution, names)

    def change(self, key: AggregateKey, **fields: float) -> None:
        """Replace an aggregate by another one, which need not count as many readings."""
        row = self.expected[key.resolution][key]
        self.delete(key.resolution, [key])
        self.write(
            [msgspec.structs.replace(row, statistics=msgspec.structs.replace(row.statistics, **fields))]
        )

    def expire(self, resolution: int, before: int) -> None:
        """Delete what retention would delete."""
        advance(self.engine, "p", resolution, kept_since=before)
        if resolution == READINGS:
            data = data_table(Readings.__table__)
            old = [each.id for each in self._readings if each.observed_at < before]
            with self.engine.begin() as connection:
                connection.execute(data.delete().where(data.c.id.in_(old)))
        else:
            keys = [key for key in self.expected[resolution] if key.start < before]
            self.delete(resolution, keys)
            for key in keys:
                del self.expected[resolution][key]
        advance(self.engine, "p", resolution, deleted_until=before)

    def compare(self, start: int = EARLIEST, end: int = LATEST) -> list[ChunkResult]:
        return list(self.auditor.compare(self.auditor.scope(start, end)))

    def differing(self) -> list[AggregateKey]:
        return [each.key for chunk in self.compare() for each in chunk.differences]

    def repair(self, start: int = EARLIEST, end: int = LATEST) -> int:
        return sum(self.auditor.repair(each) for each in self.compare(start, end))

    def stored(self, resolution: int) -> dict[AggregateKey, tuple[float, ...]]:
        with read_transaction(self.engine) as connection:
            found = self.plugin.load_aggregates(connection, HOSTS, None, resolution, EARLIEST, LATEST)
            return {
                AggregateKey(r.hostname, r.bucket_start, r.metric, resolution): _rounded(r) for r in found
            }

    def assert_exact(self) -> None:
        for resolution, rows in self.expected.items():
            assert self.stored(resolution) == {key: _rounded(row) for key, row in rows.items()}


def _rounded(row: AggregateRow) -> tuple[float, ...]:
    s = row.statistics
    return s.count, round(s.sum, 6), s.minimum, s.maximum, s.last, s.last_at


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(make_url(database_url))
    yield engine
    engine.dispose()


@pytest.fixture(params=[Default, Overriding])
def world(request: pytest.FixtureRequest, engine: Engine) -> World:
    return World(engine, request.param())


def test_all_resolutions_are_compared_with_readings(world: World) -> None:
    chunks = world.compare()
    assert [each for chunk in chunks for each in chunk.differences] == []
    assert sum(chunk.aggregates for chunk in chunks) == sum(map(len, world.expected.values()))
    assert sum(chunk.readings for chunk in chunks) == len(world._readings)
    assert not any(chunk.not_verifiable for chunk in chunks)


@pytest.mark.parametrize("resolution", [MINUTE, HOUR, DAY])
@pytest.mark.parametrize("expired", [READINGS, MINUTE, None])
def test_damaged_missing_and_excessive_rows_are_found_and_repaired(
    world: World, resolution: int, expired: int | None
) -> None:
    if expired is not None:
        world.expire(expired, day(1))
    # Of a day of which what it is computed from is kept; for hours and days that is enough, if it is either.
    since = day(1) if resolution == MINUTE else day(0)
    keys = [key for key in sorted(world.expected[resolution]) if key.start >= since]
    missing, damaged, more, fewer = keys[:4]
    world.delete(resolution, [missing])
    world.change(damaged, last=99.0)
    world.change(more, count=1000, sum=1000.0)
    world.change(fewer, sum=world.expected[resolution][fewer].statistics.sum + 1e-4)
    assert sorted(world.differing()) == sorted({missing, damaged, more, fewer})
    assert world.repair() == 4
    assert world.differing() == []
    world.assert_exact()


def test_aggregates_without_what_they_were_computed_from_are_counted_and_kept(world: World) -> None:
    world.expire(READINGS, day(2))
    world.expire(MINUTE, day(1))
    world.expire(HOUR, day(1))
    chunks = world.compare()
    assert [each for chunk in chunks for each in chunk.differences] == []
    found = [key for chunk in chunks for key in chunk.not_verifiable]
    buckets = [key for key in world.expected[MINUTE] if key.start < day(2)]
    days = [key for key in world.expected[DAY] if key.start < day(1)]
    assert sorted(found) == sorted(buckets + days)
    every = sum(map(len, world.expected.values()))
    assert sum(chunk.aggregates for chunk in chunks) == every - len(found)
    world.change(days[0], count=1000)
    assert world.repair() == 0
    assert world.stored(DAY)[days[0]][0] == 1000


def test_what_has_expired_is_not_stored_again(world: World) -> None:
    # Readings are kept longer than what was computed from them.
    world.expire(MINUTE, day(1))
    world.expire(HOUR, day(2))
    assert world.differing() == []
    world.delete(MINUTE, list(world.expected[MINUTE]))
    world.delete(HOUR, list(world.expected[HOUR]))
    assert world.repair() == len(world.expected[MINUTE]) + len(world.expected[HOUR])
    world.assert_exact()


def test_a_bucket_whose_readings_are_partly_expired_is_not_recounted(world: World) -> None:
    # The watermark has advanced, but not all rows have been deleted.
    advance(world.engine, "p", READINGS, kept_since=day(1))
    data = data_table(Readings.__table__)
    with world.engine.begin() as connection:
        some = [each.id for each in world._readings if each.observed_at < day(1)][::2]
        for id_ in some:
            connection.execute(data.delete().where(data.c.id == id_))
    assert world.differing() == []
    assert world.repair() == 0
    world.assert_exact()


def test_rows_that_are_about_to_be_deleted_or_merged_are_no_differences(world: World) -> None:
    advance(world.engine, "p", MINUTE, kept_since=day(1))
    world.delete(MINUTE, list(world.expected[MINUTE])[:7])
    advance(world.engine, "q", HOUR, merging_until=day(DAYS))
    assert world.differing() == []


def test_hours_and_days_are_expected_when_they_have_been_merged(engine: Engine) -> None:
    world = World(engine, Default())
    unmerged = Auditor("other", world.plugin, world.engine, MINUTE)
    for resolution in (HOUR, DAY):
        world.delete(resolution, list(world.expected[resolution]))
    chunks = list(unmerged.compare(unmerged.scope(EARLIEST, LATEST)))
    assert sum(chunk.aggregates for chunk in chunks) == len(world.expected[MINUTE])
    assert not any(chunk.differences for chunk in chunks)
    assert len(world.differing()) == len(world.expected[HOUR]) + len(world.expected[DAY])
    world.repair()
    world.assert_exact()


def test_hours_and_days_that_are_partly_in_the_time_range_are_repaired_with_their_buckets(
    world: World,
) -> None:
    key = next(key for key in sorted(world.expected[MINUTE]) if key.start > day(1))
    start, end = key.start, key.start + span(MINUTE)
    of_hour = AggregateKey(key.hostname, start - start % span(HOUR), key.metric, HOUR)
    world.delete(MINUTE, [key])
    world.change(of_hour, count=1)
    (chunk,) = world.compare(start, end)
    assert [each.key for each in chunk.differences] == [key]
    assert world.repair(start, end) == 2
    world.assert_exact()


def test_readings_that_were_deleted_by_hand_still_count_in_hours_and_days(world: World) -> None:
    data = data_table(Readings.__table__)
    minute = min(world.expected[MINUTE]).start
    with world.engine.begin() as connection:
        for each in world._readings:
            if minute <= each.observed_at < minute + span(MINUTE):
                connection.execute(data.delete().where(data.c.id == each.id))
    differences = [each for chunk in world.compare() for each in chunk.differences]
    assert differences
    assert all(each.without_readings and each.key.resolution == MINUTE for each in differences)
    assert world.repair() == 0
    world.assert_exact()


@pytest.mark.parametrize("rows", [1, 50])
def test_chunks_are_bounded_in_rows(world: World, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparkle_app.audit.auditor._CHUNK_ROWS", rows)
    world.expire(READINGS, day(1))
    key = max(world.expected[HOUR])
    world.delete(HOUR, [key])
    chunks = world.compare()
    assert len(chunks) >= DAYS * len(HOSTS)
    assert [each.key for chunk in chunks for each in chunk.differences] == [key]
    if type(world.plugin) is Default:
        assert sum(chunk.rows for chunk in chunks) == world.auditor.scope(EARLIEST, LATEST).rows
    every = sum(map(len, world.expected.values())) - 1
    assert sum(chunk.aggregates + len(chunk.not_verifiable) for chunk in chunks) == every


def test_aggregates_without_readings_are_compared_in_chunks_of_bounded_size(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may have been imported, or their readings were deleted by hand."""
    monkeypatch.setattr("sparkle_app.audit.auditor._CHUNK_ROWS", 50)
    data = data_table(Readings.__table__)
    last = max(each.observed_at for each in world._readings)
    with world.engine.begin() as connection:
        connection.execute(data.delete().where(data.c.observed_at < moment(last)))
    # Of the readings that are left, after the last aggregate.
    missing = [key for key in world.expected[MINUTE] if key.start == last // span(MINUTE) * span(MINUTE)]
    world.delete(MINUTE, missing)
    scope = world.auditor.scope(EARLIEST, LATEST)
    assert scope.readings == {}
    assert scope.sparse.keys() == set(HOSTS)
    chunks = world.compare()
    assert max(chunk.aggregates for chunk in chunks) < 0.6 * sum(chunk.aggregates for chunk in chunks)
    found = {each.key for chunk in chunks for each in chunk.differences if not each.without_readings}
    assert set(missing) <= found
    assert sum(chunk.readings for chunk in chunks) == len(missing)
    if type(world.plugin) is Default:
        assert sum(chunk.rows for chunk in chunks) == scope.rows


def test_an_hour_is_repaired_that_is_being_merged(world: World) -> None:
    """Whoever merges hours has read the bucket before, and does not merge this hour again."""
    key = max(world.expected[MINUTE])
    hour = AggregateKey(key.hostname, key.start - key.start % span(HOUR), key.metric, HOUR)
    with world.engine.begin() as connection:
        marks = (RETENTION.c.plugin == "p") & (RETENTION.c.resolution != READINGS)
        connection.execute(RETENTION.update().where(marks).values(merged_until=hour.start))
    world.change(key, count=99)
    world.change(hour, count=99)
    assert world.repair() >= 2
    assert world.stored(HOUR)[hour] == _rounded(world.expected[HOUR][hour])


def test_a_copy_has_the_same_aggregates_also_where_these_cannot_be_verified(
    world: World, source: str
) -> None:
    engine = make_engine(make_url(source))
    copy = World(engine, type(world.plugin)())
    for each in (world, copy):
        for resolution in (READINGS, MINUTE, HOUR):
            each.expire(resolution, day(2))
    both = world.auditor, copy.auditor
    here, there, same, _ = audit_copy(*both, set(), lambda _rows: None)
    assert same
    assert here == there
    assert here.not_verifiable == len([key for key in world.expected[DAY] if key.start < day(2)])

    class Altered(Overriding):
        def load_aggregates(self, *arguments: Any) -> Iterable[AggregateRow]:
            for row in super().load_aggregates(*arguments):
                changed = msgspec.structs.replace(row.statistics, last=-1.0)
                yield msgspec.structs.replace(row, statistics=changed) if row.bucket_start == day(0) else row

    other = Auditor("p", Altered(), world.engine, MINUTE)
    # Also if the target has more readings of these hosts, which do not change what is older.
    for ahead in (set(), set(HOSTS)):
        assert not audit_copy(world.auditor, other, ahead, lambda _rows: None).same
        assert audit_copy(*both, ahead, lambda _rows: None) == (here, there, True, 0)
    # One that nobody can verify is another one in the copy.
    copy.change(min(copy.expected[DAY]), last=-1.0)
    assert not audit_copy(*both, set(), lambda _rows: None).same
    engine.dispose()
