"""What storage promises of watermarks, of every database."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from sparkle_app.model.buckets import bucket_start
from sparkle_app.model.retention import DAY, HOUR, READINGS, Watermark, Watermarks
from sparkle_app.model.time import LATEST, from_seconds, span
from sparkle_app.plugin_api import Base
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.dialects.base import Dialect
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.errors import is_lock_conflict
from sparkle_app.storage.hosts import Host
from sparkle_app.storage.models import RETENTION, tables_of
from sparkle_app.storage.names import create_series
from sparkle_app.storage.retention import advance, begin, watermarks, watermarks_to_rebuild
from sparkle_app.storage.trial import try_writing
from tests.support.contract import START, Aggregates, Readings
from tests.support.eventually import eventually

pytestmark = pytest.mark.every_database


@pytest.fixture
def engine(any_statements: Engine) -> Engine:
    Base.metadata.create_all(any_statements, tables=[Host.__table__, *tables_of(Readings, Aggregates)])
    return any_statements


def known(engine: Engine, plugin: str = "p", bucket_size: int = 60) -> dict[int, Watermark]:
    with read_transaction(engine) as connection:
        return dict(watermarks(connection, plugin, bucket_size).known)


def locked(engine: Engine, plugin: str = "p", bucket_size: int = 60) -> None:
    """As a transaction that writes."""
    with engine.begin() as connection:
        watermarks(connection, plugin, bucket_size, lock=True)


def test_watermarks_are_created_once_and_only_grow(engine: Engine) -> None:
    assert known(engine) == {}
    locked(engine)
    locked(engine)
    new = dict.fromkeys((READINGS, 60, HOUR, DAY), Watermark())
    assert known(engine) == new
    advance(engine, "p", HOUR, merging_until=START, kept_since=7)
    advance(engine, "p", HOUR, merging_until=START - 1, merged_until=START - 2)
    advance(engine, "p", READINGS, deleted_until=1)
    assert known(engine) == {
        **new,
        READINGS: Watermark(deleted_until=1),
        HOUR: Watermark(kept_since=7, merging_until=START, merged_until=START - 2),
    }
    # Names differ as they do everywhere.
    assert known(engine, "P") == {}
    locked(engine, "P")
    assert known(engine, "P") == new


def test_readings_that_cannot_be_merged_have_fewer_watermarks(engine: Engine) -> None:
    locked(engine, bucket_size=7)
    assert set(known(engine)) == {READINGS, 7}


def test_buckets_of_another_size_are_complete_from_the_next_day_on(engine: Engine) -> None:
    locked(engine)
    with engine.begin() as connection:
        create_series(connection, [("host", "k")], 60)
        create_series(connection, [("host", "k")], HOUR)
    advance(engine, "p", 60, kept_since=3)
    advance(engine, "p", HOUR, merging_until=START)
    locked(engine, bucket_size=120)
    changed = known(engine)
    assert set(changed) == {READINGS, 120, HOUR, DAY}
    assert changed[120].complete_since > START
    assert changed[120].complete_since % span(DAY) == 0
    assert changed[120].kept_since == 3
    assert changed[HOUR].merging_until == START
    locked(engine)
    assert known(engine)[60].complete_since == changed[120].complete_since


def test_buckets_become_hours_and_hours_become_buckets(engine: Engine) -> None:
    locked(engine)
    advance(engine, "p", HOUR, kept_since=5, merging_until=START, merged_until=START)
    locked(engine, bucket_size=HOUR)
    hours = known(engine)
    assert set(hours) == {READINGS, HOUR, DAY}
    assert hours[HOUR].complete_since > START
    assert (hours[HOUR].kept_since, hours[HOUR].merged_until) == (5, START)
    assert hours[DAY] == Watermark()
    locked(engine)
    minutes = known(engine)
    assert set(minutes) == {READINGS, 60, HOUR, DAY}
    assert minutes[60] == Watermark(complete_since=hours[HOUR].complete_since, kept_since=5)
    assert minutes[HOUR] == hours[HOUR]


def test_aggregates_of_another_size_are_noticed_although_there_are_no_watermarks(engine: Engine) -> None:
    with engine.begin() as connection:
        create_series(connection, [("host", "k")], 60)
        begin(connection, "p", 60)
    with engine.begin() as connection:
        begin(connection, "q", 120)
    assert known(engine)[60].complete_since == 0
    assert known(engine, "q")[120].complete_since > 0


def test_hours_that_were_buckets_are_noticed_for_each_plugin(engine: Engine) -> None:
    """Both had buckets of an hour before there were watermarks; the first one's are created before the other's."""
    with engine.begin() as connection:
        create_series(connection, [("host", "k")], HOUR)
    for plugin in ("p", "q"):
        with engine.begin() as connection:
            begin(connection, plugin, 60)
        assert known(engine, plugin)[60].complete_since > START


def test_watermarks_advance_when_the_transactions_that_have_read_them_end(engine: Engine) -> None:
    locked(engine)
    order: list[str] = []

    def retain() -> None:
        advance(engine, "p", READINGS, kept_since=START)
        order.append("advanced")

    with ThreadPoolExecutor() as threads:
        with engine.begin() as connection:
            assert watermarks(connection, "p", 60, lock=True)[READINGS].kept_since == 0
            retaining = threads.submit(retain)
            assert not _ends_soon(retaining)
            create_series(connection, [("host", "k")], 60)
            assert watermarks(connection, "p", 60)[READINGS].kept_since == 0
            order.append("written")
        retaining.result()
    assert order == ["written", "advanced"]
    with engine.begin() as connection:
        assert watermarks(connection, "p", 60, lock=True)[READINGS].kept_since == START


def test_whoever_rebuilds_recent_buckets_waits_for_writers_who_then_know_of_it(engine: Engine) -> None:
    locked(engine)
    recent = bucket_start(from_seconds(time.time()), 60)

    def rebuild(*starts: int) -> None:
        with engine.begin() as connection:
            assert watermarks_to_rebuild(connection, "p", 60, starts) == watermarks_before

    def rebuilt_at() -> int:
        with engine.begin() as connection:
            return watermarks(connection, "p", 60, lock=True).rebuilt_at

    watermarks_before = Watermarks(60, known(engine))
    rebuild()
    rebuild(START - span(9 * DAY))
    assert rebuilt_at() == 0
    began = from_seconds(time.time())
    with ThreadPoolExecutor() as threads:
        with engine.begin() as connection:
            assert watermarks(connection, "p", 60, lock=True).rebuilt_at == 0
            rebuilding = threads.submit(rebuild, recent - span(DAY), recent)
            assert not _ends_soon(rebuilding)
        rebuilding.result()
        first = rebuilt_at()
        assert began <= first <= from_seconds(time.time())
        with engine.begin() as connection:
            watermarks_to_rebuild(connection, "p", 60, [recent])
            writing = threads.submit(rebuilt_at)
            assert not _ends_soon(writing)
        second = writing.result()
        assert second > first
    assert known(engine) == {**watermarks_before.known, READINGS: Watermark(rebuilt_at=second)}
    with engine.begin() as connection:
        # By a clock that was ahead.
        connection.execute(RETENTION.update().values(rebuilt_at=LATEST))
        watermarks_to_rebuild(connection, "p", 60, [recent])
        assert watermarks(connection, "p", 60).rebuilt_at == LATEST + 1


def test_transactions_that_write_do_not_wait_for_each_other_nor_for_other_plugins(engine: Engine) -> None:
    dialect = dialect_of(engine)
    if dialect.max_writers == 1 or type(dialect).lock_row is Dialect.lock_row:
        pytest.skip("one transaction writes at a time")
    locked(engine, "p")
    locked(engine, "q")
    with ThreadPoolExecutor() as threads, engine.begin() as connection:
        watermarks(connection, "p", 60, lock=True)
        threads.submit(locked, engine).result()
        threads.submit(advance, engine, "q", READINGS, kept_since=START).result()


def test_watermarks_advance_although_there_is_always_a_transaction_that_writes(engine: Engine) -> None:
    dialect = dialect_of(engine)
    if dialect.max_writers == 1 or type(dialect).lock_row is Dialect.lock_row:
        pytest.skip("one transaction writes at a time")
    locked(engine)
    with ThreadPoolExecutor() as threads:
        connections = [engine.connect() for _ in range(2)]
        watermarks(connections[0], "p", 60, lock=True)
        retaining = threads.submit(advance, engine, "p", READINGS, kept_since=START)
        assert not _ends_soon(retaining)

        def following_waits() -> Future[Any] | None:
            following = threads.submit(watermarks, connections[1], "p", 60, lock=True)
            if _ends_soon(following):
                # The other one has not asked for the lock yet.
                connections[1].rollback()
                return None
            return following

        # Begins before the other ends.
        following = eventually(following_waits, lambda found: found is not None)
        assert following
        connections[0].rollback()
        assert following.result()[READINGS].kept_since == START
        retaining.result()
        for connection in connections:
            connection.close()


def test_several_writers_create_the_watermarks_of_a_new_plugin_at_once(engine: Engine) -> None:
    at_once = threading.Barrier(4, timeout=30)

    def write(plugins: Sequence[str]) -> None:
        at_once.wait()
        for plugin in plugins:
            while True:
                try:
                    locked(engine, plugin)
                    break
                except DBAPIError as error:
                    # As agents do.
                    if not is_lock_conflict(error):
                        raise

    with ThreadPoolExecutor() as threads:
        for each in [threads.submit(write, ["a", "b", "c"]) for _ in range(4)]:
            each.result()
    for plugin in ("a", "b", "c"):
        assert set(known(engine, plugin)) == {READINGS, 60, HOUR, DAY}


def test_a_trial_leaves_watermarks_as_they_are(engine: Engine) -> None:
    locked(engine)
    advance(engine, "p", READINGS, kept_since=START)
    with engine.connect() as connection, connection.begin() as transaction:
        assert RETENTION.name not in try_writing(connection)
        transaction.rollback()
    assert known(engine)[READINGS].kept_since == START


def _ends_soon(future: Future[Any]) -> bool:
    """Whether a thread ends although it should wait: then it does so at once."""
    return bool(wait([future], timeout=0.3).done)
