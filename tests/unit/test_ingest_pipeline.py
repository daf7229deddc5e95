"""The ingest pipeline over a broker in memory and SQLite: every reading is a row or a dead letter before it is done."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import NotEnoughReplicasError
from faust.types import TP

from sparkle_app.ingest import agent
from sparkle_app.ingest.decryption_pool import BrokenPoolError
from sparkle_app.kafka.record_batches import RecordBatch
from sparkle_app.model.errors import TransientError
from sparkle_app.model.record import Outcome, Record
from sparkle_app.model.retention import DAY, READINGS, ExpiredReading, ExpiredReason
from sparkle_app.model.time import from_seconds
from sparkle_app.runtime.expired_readings import ExpiredReadings
from sparkle_app.storage.retention import advance
from tests.support.aggregate_worker import (
    NAME,
    SAMPLES,
)
from tests.support.fake_clock import FakeClock
from tests.support.ingest_world import BATCH, LETTERS, PER_MINUTE, TOPIC, IngestWorld
from tests.support.process_exit import ProcessExited, raise_instead_of_exit


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[IngestWorld]:
    """A started worker; retries wait by its clock, and the end of the process is an exception."""
    raise_instead_of_exit(monkeypatch, agent)
    world = IngestWorld(tmp_path)
    world.clock.replace_sleep_of_retries(monkeypatch)
    await world.start()
    yield world
    world.engine.dispose()


async def test_readings_become_rows_and_samples_and_their_records_are_committed(world: IngestWorld) -> None:
    await world.produce([1.0], [2.0], [-3.0])
    await world.work()
    assert world.rows() == [(1.0, 0), (2.0, 1), (-3.0, 2)]
    assert world.samples() == [-3.0, 1.0, 2.0]
    assert world.letters() == {}
    assert (world.acked(), await world.committed()) == ([2], 3)
    assert world.value("records", topic=TOPIC) == 3
    assert world.value("readings", plugin=NAME) == 3
    for name in ("readings_untrusted_clock", "clocks_not_believed"):
        assert world.value(name, plugin=NAME) == 1


async def test_what_can_never_be_a_reading_becomes_a_dead_letter_and_the_rest_goes_on(
    world: IngestWorld,
) -> None:
    await world.produce(b"junk", None, [None], [1.0])
    await world.work()
    assert world.rows() == [(1.0, 3)]
    assert world.letters() == {
        f"{TOPIC}/0/0": "not_json",
        f"{TOPIC}/0/1": "not_json",
        f"{TOPIC}/0/2": "invalid_value",
    }
    assert await world.committed() == 4


async def test_each_reading_of_a_record_has_its_own_fate(world: IngestWorld) -> None:
    await world.produce([1.0, None, 13, 2.0])
    await world.work()
    assert world.rows() == [(1.0, 0), (2.0, 0)]
    assert world.samples() == [1.0, 2.0]
    assert world.letters() == {f"{TOPIC}/0/0/1": "invalid_value", f"{TOPIC}/0/0/2": "refused_by_database"}


async def test_a_transaction_is_bounded_in_readings(
    world: IngestWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, sizes = world.writer.store, []

    async def noted(outcomes: Sequence[Outcome]) -> Any:
        sizes.append([len(outcome.readings) for outcome in outcomes])
        assert world.acked() == []
        return await store(outcomes)

    monkeypatch.setattr(world.writer, "store", noted)
    await world.produce([1.0, 2.0], [3.0], [4.0, 5.0, 6.0, 7.0, 8.0], [9.0])
    await world.work()
    assert sizes == [[2, 1], [5], [1]]
    assert world.acked() == [3]


async def test_a_row_that_the_database_refuses_does_not_stop_its_neighbours(world: IngestWorld) -> None:
    await world.produce([1.0], [13], [2.0], [3.0])
    await world.work()
    assert world.rows() == [(1.0, 0), (2.0, 2), (3.0, 3)]
    assert world.letters() == {f"{TOPIC}/0/1": "refused_by_database"}


async def test_nothing_is_acknowledged_before_the_broker_has_letters_and_samples(world: IngestWorld) -> None:
    acked = []

    async def note(at: TopicPartition) -> None:
        acked.append((at.topic, world.acked(), len(world.rows())))

    await world.produce([1.0], [None])
    world.broker.before_append = note
    await world.work()
    # The rows are committed before anybody hears of them.
    assert acked == [(LETTERS, [], 1), (SAMPLES, [], 1)]


async def test_the_next_batch_is_decrypted_while_one_is_stored_and_no_more(
    world: IngestWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, store = asyncio.Event(), world.writer.store

    async def waiting(outcomes: Sequence[Outcome]) -> Any:
        await gate.wait()
        return await store(outcomes)

    monkeypatch.setattr(world.writer, "store", waiting)
    await world.produce(*([number / 100] for number in range(5 * BATCH)))
    task = asyncio.create_task(world.work())
    for _ in range(100):
        await asyncio.sleep(0)
    assert [records[0].offset for records in world.pool.asked] == [0, BATCH]
    gate.set()
    await task
    assert world.acked() == [BATCH * number - 1 for number in range(1, 6)]
    assert len(world.rows()) == 5 * BATCH


@pytest.mark.parametrize("part", ["store", "send", "forward", "delete"])
async def test_a_step_that_fails_for_a_while_is_retried_and_its_work_is_not_doubled(
    world: IngestWorld, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.produce([1.0, None])
    await world.replay(Record(TOPIC, 1, 5, 0, b"[2.0]"))
    world.fail_once(part, TransientError("away"), monkeypatch)
    await world.work()
    assert len(world.clock.slept) == 1
    assert world.rows() == [(1.0, 0), (2.0, 5)]
    assert world.letters() == {f"{TOPIC}/0/0/1": "invalid_value", f"{TOPIC}/1/5": None}
    assert set(world.samples()) == {1.0, 2.0}
    assert await world.committed() == 2


@pytest.mark.parametrize("part", ["store", "send", "forward", "delete", "decrypt"])
async def test_an_unexpected_error_ends_the_process_before_anything_is_acknowledged(
    world: IngestWorld, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.produce([1.0, None])
    await world.replay(Record(TOPIC, 1, 5, 0, b"[2.0]"))
    if part == "decrypt":
        world.pool.raises.append(ValueError("a defect"))
    else:
        world.fail_once(part, ValueError("a defect"), monkeypatch)
    with pytest.raises(ProcessExited, match=f"2 records of topic {TOPIC}"):
        await world.work()
    assert world.acked() == []
    await world.broker.evict(world.app.connection)
    await world.start_worker()
    await world.work()
    assert world.rows() == [(1.0, 0), (2.0, 5)]
    assert await world.committed() == 2


@pytest.mark.parametrize("part", ["store", "send", "forward", "delete"])
async def test_a_cancelled_agent_leaves_no_task_and_its_batches_are_redelivered(
    world: IngestWorld, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.produce([1.0, None])
    await world.replay(Record(TOPIC, 1, 5, 0, b"[2.0]"))
    await world.produce(*([float(number)] for number in range(20, 20 + 3 * BATCH)))
    reached = world.block_once(part, monkeypatch)
    others = asyncio.all_tasks()
    running = asyncio.create_task(world.pipeline.run(world.stream.stream))
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    # Generators that were not exhausted are closed by tasks of their own.
    assert not [task for task in asyncio.all_tasks() - others if "IngestPipeline" in repr(task)]
    assert world.acked() == []
    await world.broker.evict(world.app.connection)
    await world.start_worker()
    await world.work()
    assert sorted(value for value, _ in world.rows()) == [1.0, 2.0, *range(20, 20 + 3 * BATCH)]
    assert world.letters() == {f"{TOPIC}/0/0/1": "invalid_value", f"{TOPIC}/1/5": None}
    assert await world.committed() == 2 + 3 * BATCH


async def test_a_process_of_the_pool_that_is_gone_ends_the_worker(world: IngestWorld) -> None:
    await world.produce([1.0])
    world.pool.raises.append(BrokenPoolError())
    with pytest.raises(ProcessExited, match=f"1 record of topic {TOPIC}"):
        await world.work()
    assert (world.rows(), world.acked()) == ([], [])


async def test_invalid_values_beyond_the_limit_are_counted_and_committed(world: IngestWorld) -> None:
    await world.produce(*([None] for _ in range(3 * PER_MINUTE)), [1.0])
    await world.work()
    assert len(world.letters()) == PER_MINUTE
    assert world.value("dead_letters", reason="invalid_value") == PER_MINUTE
    assert world.value("dead_letters_suppressed", reason="invalid_value") == 2 * PER_MINUTE
    assert world.rows() == [(1.0, 3 * PER_MINUTE)]
    assert await world.committed() == 3 * PER_MINUTE + 1
    world.clock.now += 61
    await world.produce([None])
    await world.work()
    assert len(world.letters()) == PER_MINUTE + 1


def of_config(*values: float) -> dict[str, object]:
    """A record of config 9."""
    return {"config_id": 9, "values": values}


async def test_records_that_no_key_decrypts_are_held_back_while_others_are_stored(
    world: IngestWorld,
) -> None:
    await world.produce([1.0], partition=1)
    await world.work()
    world.clock.now += 10
    await world.produce(*[of_config(n) for n in range(2 * BATCH)], [20.0])
    await world.produce([30.0], partition=1)
    await world.work()
    assert sorted(value for value, _ in world.rows()) == [1.0, 20.0, 30.0]
    assert world.letters() == {}
    assert world.value("records_held_back", topic=TOPIC) == 2 * BATCH
    # Nothing in the partition of the held records is committed.
    assert await world.committed() is None
    assert world.breaker.held.keys() == {9}
    # With the right key, they are read again after a rebalance.
    world.pool.keys.add(9)
    assert world.breaker.release(await world.pool.decrypt(list(world.breaker.held.values()))) == {9}
    world.broker.rebalance("ingest")
    await world.app.rebalance()
    await world.work()
    assert sorted(value for value, _ in world.rows()) == sorted([1.0, 20.0, 30.0, *range(2 * BATCH)])
    assert world.letters() == {}
    assert await world.committed() == 2 * BATCH + 1


async def test_a_dead_letter_of_a_partition_that_is_read_again_is_deleted_once_its_record_is_stored(
    world: IngestWorld,
) -> None:
    """Of several keys that are missing, only the one of most records opens the circuit breaker."""
    other = {"config_id": 8, "values": [40.0]}
    await world.produce(*[of_config(n) for n in range(2 * BATCH)])
    await world.work()
    await world.produce(other, {"config_id": 7, "values": [50.0]}, *[[float(n)] for n in range(BATCH)])
    await world.work()
    assert world.breaker.held.keys() == {9}
    assert len(world.letters()) == 2
    world.pool.keys |= {8, 9}
    world.breaker.release(await world.pool.decrypt(list(world.breaker.held.values())))
    world.broker.rebalance("ingest")
    await world.app.rebalance()
    await world.work()
    assert 40.0 in [value for value, _ in world.rows()]
    # No key decrypts the other one yet.
    assert [value is None for value in world.letters().values()] == [True, False]


async def test_a_few_records_that_no_key_decrypts_are_dead_letters(world: IngestWorld) -> None:
    await world.produce(*[of_config(n) for n in range(BATCH - 1)], [1.0])
    await world.work()
    assert len(world.letters()) == BATCH - 1
    assert await world.committed() == BATCH


@pytest.mark.parametrize("timestamp", [-1, 130_000, 4_200_000_000_000])
async def test_a_record_without_a_plausible_timestamp_gets_the_time_of_its_arrival(
    world: IngestWorld, timestamp: int
) -> None:
    fetched = ConsumerRecord(TOPIC, 0, 7, timestamp, 0, None, b"[1.0]", None, 0, 5, ())
    event: Any = SimpleNamespace(message=RecordBatch(TP(TOPIC, 0), [fetched], 1))
    (record,) = world.pipeline._records([event])
    assert record.received_at == from_seconds(world.clock.now)


async def test_an_invalid_record_with_an_implausible_timestamp_has_one_dead_letter_after_a_crash(
    world: IngestWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whose records keep the timestamps of their hosts.
    await world.broker.create_topic(TOPIC, 2)
    await world.produce_at(130, None)
    world.fail_once("send", ValueError("the process dies"), monkeypatch)
    with pytest.raises(ProcessExited):
        await world.work()
    world.clock.now += 5
    await world.broker.evict(world.app.connection)
    await world.start_worker()
    await world.work()
    keys = [each.key for at in world.broker.partitions(LETTERS) for each in world.broker.records(at)]
    assert keys == [f"{TOPIC}/0/0@130000".encode()] * 2


async def test_a_rebalance_in_the_middle_of_a_batch_redelivers_it_and_stores_it_once(
    world: IngestWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = world.writer.store
    rebalanced: list[int] = []

    async def rebalance(outcomes: Sequence[Outcome]) -> Any:
        stored = await store(outcomes)
        if not rebalanced:
            rebalanced.append(len(outcomes))
            world.broker.rebalance("ingest")
            await world.app.rebalance()
            # The acknowledgement that follows is of the generation before.
        return stored

    monkeypatch.setattr(world.writer, "store", rebalance)
    await world.produce([1.0], [2.0], [None])
    await world.work()
    assert await world.committed() is None
    await world.work()
    assert len(world.pool.asked) == 2
    assert world.rows() == [(1.0, 0), (2.0, 1)]
    assert world.letters() == {f"{TOPIC}/0/2": "invalid_value"}
    assert await world.committed() == 3


async def test_a_replayed_record_is_stored_as_it_was_first_and_its_letter_is_deleted(
    world: IngestWorld,
) -> None:
    first = Record(TOPIC, 1, 77, 1_600_000_000_000_000, b"[1.0]")
    await world.replay(first)
    await world.work()
    assert world.rows() == [(1.0, 77)]
    assert world.letters() == {f"{TOPIC}/1/77": None}
    assert world.pool.asked[0][0].received_at == first.received_at
    assert await world.committed() == 1


async def test_readings_that_have_expired_are_counted_and_neither_stored_nor_forwarded(
    world: IngestWorld, caplog: pytest.LogCaptureFixture
) -> None:
    await world.produce([1.0])
    await world.work()
    at = 1_600_000_000_000_000
    advance(world.engine, NAME, READINGS, kept_since=at)
    await world.replay(Record(TOPIC, 1, 77, at - 1, b"[2.0]"))
    await world.replay(Record(TOPIC, 1, 78, at, b"[3.0]"))
    await world.produce([4.0], [None])
    await world.work()
    assert world.rows() == [(1.0, 0), (4.0, 3), (3.0, 78)]
    assert world.samples() == [1.0, 3.0, 4.0]
    # Neither of the replayed records is a dead letter any longer.
    assert world.letters() == {f"{TOPIC}/1/77": None, f"{TOPIC}/1/78": None, f"{TOPIC}/0/4": "invalid_value"}
    assert await world.committed() == 5
    assert world.value("readings", plugin=NAME) == 3
    assert world.value("readings_expired", plugin=NAME, reason="replay") == 1
    (line,) = (each.getMessage() for each in caplog.records if "expired" in each.name)
    assert line == (
        "1 reading not stored: older than the retention period; for example Plain k of host-2.0 at"
        " 2020-09-13T12:26:39.999000Z (replay), kept since 2020-09-13T12:26:40Z"
    )


async def test_a_host_whose_clock_is_behind_is_told_from_a_record_that_is_read_late(
    world: IngestWorld, caplog: pytest.LogCaptureFixture
) -> None:
    now, years = world.clock.now, 3 * 365 * DAY
    # Whose records keep the timestamps of their hosts.
    await world.broker.create_topic(TOPIC, 2)
    await world.produce_at(now - 101 * DAY, 0.0)
    await world.work()
    advance(world.engine, NAME, READINGS, kept_since=from_seconds(now - 90 * DAY))
    # These have waited for long. A clock that is ahead says nothing about the records that follow.
    await world.produce_at(now + years, 1.0)
    await world.produce_at(now - 100 * DAY, 2.0)
    await world.work()
    # Of another partition, in which nothing precedes it; and after one of the present.
    await world.produce_at(now - years, 3.0, partition=1)
    await world.produce_at(now, 4.0)
    await world.produce_at(now - years, 5.0)
    await world.work()
    assert world.value("readings_expired", plugin=NAME, reason="late") == 2
    assert world.value("readings_expired", plugin=NAME, reason="clock") == 1
    lines = [each.getMessage() for each in caplog.records if "expired" in each.name]
    assert "Plain k of host-5.0 at" in lines[-1]


async def test_expired_readings_are_logged_once_a_minute(
    world: IngestWorld, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    noted = ExpiredReadings(world.metrics, clock)
    late, clock_behind = (
        ExpiredReading(NAME, "a", "k", 5, reason, 10) for reason in (ExpiredReason.LATE, ExpiredReason.CLOCK)
    )
    for seconds in (0, 30, 29, 1):
        clock.now += seconds
        # One of another reason is not hidden by many.
        noted.note([late] * 2 + [clock_behind] * (seconds == 29))
    lines = [each.getMessage() for each in caplog.records]
    assert [line.split()[0] for line in lines] == ["2", "1", "6"]
    assert "correct the clock of the host" in lines[1]
    assert world.value("readings_expired", plugin=NAME, reason="late") == 8
    assert world.value("readings_expired", plugin=NAME, reason="clock") == 1


async def test_a_replayed_record_that_fails_again_stays_a_letter_and_does_not_count_as_new(
    world: IngestWorld,
) -> None:
    for offset in range(PER_MINUTE + 5):
        await world.replay(Record(TOPIC, 1, offset, 0, b"[null]"))
    await world.work()
    assert set(world.letters().values()) == {"invalid_value"}
    assert len(world.letters()) == PER_MINUTE + 5


async def test_of_a_replayed_record_only_the_letters_of_its_good_readings_are_deleted(
    world: IngestWorld,
) -> None:
    await world.replay(Record(TOPIC, 1, 7, 0, b"[1.0, null, 2.0]"))
    await world.work()
    assert world.letters() == {
        f"{TOPIC}/1/7": None,
        f"{TOPIC}/1/7/0": None,
        f"{TOPIC}/1/7/1": "invalid_value",
        f"{TOPIC}/1/7/2": None,
    }


async def test_a_token_of_another_record_is_ignored(world: IngestWorld) -> None:
    await world.replay(Record(TOPIC, 1, 7, 0, b"[1.0]"), value=b"[2.0]")
    await world.work()
    assert world.rows() == [(2.0, 0)]
    assert world.letters() == {}


async def test_partitions_are_acknowledged_each_in_its_order(world: IngestWorld) -> None:
    for partition in (0, 1):
        await world.produce(*([float(number)] for number in range(6)), partition=partition)
    await world.work()
    for partition in (0, 1):
        mine = [offset for at, offset in world.stream.acked if at == TP(TOPIC, partition)]
        assert mine == sorted(mine)
        assert mine[-1] == 5


async def test_a_broker_that_acknowledges_nothing_is_waited_for(world: IngestWorld) -> None:
    refused: list[TopicPartition] = []

    async def refuse(at: TopicPartition) -> None:
        if len(refused) < 3:
            refused.append(at)
            raise NotEnoughReplicasError

    await world.produce([1.0], [None])
    world.broker.before_append = refuse
    await world.work()
    assert len(world.clock.slept) == 3
    assert (world.samples(), world.letters()) == ([1.0], {f"{TOPIC}/0/1": "invalid_value"})
    assert world.value("retries", stage="dead_letters") == 3


async def test_the_time_that_a_batch_takes_does_not_include_that_of_the_batch_before(
    world: IngestWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    in_turn, seconds = asyncio.Lock(), []

    async def decrypt(records: Sequence[Record]) -> list[Outcome]:
        nonlocal now
        async with in_turn:
            await asyncio.sleep(0)
            now += len(records)
        return []

    monkeypatch.setattr(agent, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(world.pool, "decrypt", decrypt)
    limit = SimpleNamespace(decrypted=lambda records, took: seconds.append((records, took)))
    monkeypatch.setattr(world.pipeline, "_limit", limit)
    record = Record(TOPIC, 0, 0, 0, b"")
    await asyncio.gather(*(world.pipeline._decrypt([record] * number) for number in (2, 3)))
    assert seconds == [(2, 2.0), (3, 3.0)]
