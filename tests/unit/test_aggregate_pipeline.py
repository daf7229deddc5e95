"""The aggregate pipeline with the in-memory broker and SQLite: what it writes and acknowledges, in which order."""

from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import NotEnoughReplicasError

from sparkle_app.kafka.topology import partition_of
from sparkle_app.model.errors import TransientError
from sparkle_app.model.retention import DAY, READINGS
from sparkle_app.model.time import span
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.samples import pack_samples
from sparkle_app.storage.expiry import delete_readings
from sparkle_app.storage.retention import advance, watermarks
from tests.support.aggregate_worker import (
    CHANGELOG,
    METRICS,
    NAME,
    PARTITIONS,
    RETENTION_SECONDS,
    SAMPLES,
    DataFrame,
    Plain,
)
from tests.support.aggregate_world import AT, Do, World
from tests.support.process_exit import ProcessExited

WRITING = ("count", "counted", "flush", "send", "flushed", "store", "stored")


def raising(error: BaseException) -> Do:
    async def fail() -> None:
        raise error

    return fail


def value(name: str, **labels: str) -> float:
    return METRICS.registry.get_sample_value(f"sparkle_{name}_total", {"plugin": NAME, **labels}) or 0.0


def changelog(world: World) -> list[Any]:
    return [each for at in sorted(world.broker.partitions(CHANGELOG)) for each in world.broker.records(at)]


async def test_samples_are_counted_then_written_acknowledged_and_committed(world: World) -> None:
    await world.count(1.0, 2.0)
    await world.count(4.0, hostname="b")
    assert world.in_sql() == {("a", 0): (2, 3.0), ("b", 0): (1, 4.0)}
    assert world.in_table() == {("a", 0): 2, ("b", 0): 1}
    assert len(changelog(world)) == 2
    assert await world.committed() == 2


async def test_each_step_is_complete_before_the_next_begins(world: World) -> None:
    states = []

    async def record_state() -> None:
        states.append((len(world.in_table()), len(changelog(world)), len(world.in_sql()), len(world.acked())))

    for point in (*WRITING, "ack"):
        world.points[point] = record_state
    await world.count(1.0)
    # Number of entries in the table, the changelog topic and SQL, and of acknowledgements.
    assert states == [
        (0, 0, 0, 0),
        (0, 0, 0, 0),
        (1, 0, 0, 0),
        (1, 0, 0, 0),
        (1, 1, 0, 0),
        (1, 1, 0, 0),
        (1, 1, 1, 0),
        (1, 1, 1, 0),
    ]


@pytest.mark.parametrize("point", WRITING)
async def test_after_a_rebalance_at_any_step_the_batch_is_redelivered(world: World, point: str) -> None:
    acked_at_redelivery: list[int] = []

    async def note() -> None:
        acked_at_redelivery.append(len(world.acked()))

    async def rebalance() -> None:
        await world.rebalance()
        world.points["fetched"] = note

    world.points[point] = rebalance
    await world.count(1.0, 2.0)
    assert acked_at_redelivery == [0]
    assert len(world.acked()) == await world.committed() == 1
    assert world.in_sql() == {("a", 0): (2, 3.0)}
    assert world.in_table() == {("a", 0): 2}


@pytest.mark.parametrize("point", ["count", "counted"])
async def test_after_a_rebalance_while_it_is_counted_a_batch_writes_nothing(world: World, point: str) -> None:
    async def rebalance() -> None:
        await world.rebalance()
        # As if another worker had committed the message, so that it is not redelivered.
        world.broker._groups[world.worker.app.conf.id].committed[only] = 1
        await world.worker.app.batching.perform_seek()

    only = TopicPartition(SAMPLES, partition_of("a", PARTITIONS))
    world.points[point] = rebalance
    await world.count(1.0)
    assert (world.in_table(), changelog(world), world.in_sql(), world.acked()) == ({}, [], {}, [])


@pytest.mark.parametrize("state", ["rebalancing", "in_recovery"])
async def test_during_a_rebalance_or_recovery_a_batch_writes_nothing(world: World, state: str) -> None:
    async def change() -> None:
        setattr(world.worker.app, state, True)

    world.points["counted"] = change
    await world.count(1.0)
    assert (world.in_table(), changelog(world), world.in_sql(), world.acked()) == ({}, [], {}, [])


async def test_messages_of_an_earlier_generation_are_skipped_and_redelivered(world: World) -> None:
    world.points["fetched"] = world.rebalance
    await world.count(1.0)
    assert len(world.acked()) == 1
    assert world.in_sql() == {("a", 0): (1, 1.0)}


@pytest.mark.parametrize("place", ["another key", "another topic", "no value"])
async def test_a_message_that_cannot_be_decrypted_ends_the_process_before_its_batch_is_counted(
    world: World, place: str
) -> None:
    packed = pack_samples({})
    value = {
        "another key": Cipher(b"x" * 32).encrypt(packed, SAMPLES.encode()),
        "another topic": Cipher(bytes(32)).encrypt(packed, CHANGELOG.encode()),
        "no value": None,
    }[place]
    await world.forward(*world.store(1.0))
    sent = await world.broker.producer().send_and_wait(SAMPLES, value, partition=1)
    with pytest.raises(ProcessExited) as exited:
        await world.worker.work()
    assert f"topic {SAMPLES}, partition 1, offset {sent.offset}" in str(exited.value)
    assert (world.in_table(), changelog(world), world.in_sql(), world.acked()) == ({}, [], {}, [])


@pytest.mark.parametrize(
    "packed", [msgspec.msgpack.encode({"a": [(b"id", "k", True, AT)]}), b"\xc1", b"\x81\xa1\xff\x90"]
)
async def test_a_message_that_cannot_be_decoded_is_skipped_and_the_others_are_counted(
    world: World, caplog: pytest.LogCaptureFixture, packed: bytes
) -> None:
    await world.count(1.0)
    world.store(2.0)
    sealed = Cipher(bytes(32)).encrypt(packed, SAMPLES.encode())
    sent = await world.broker.producer().send_and_wait(
        SAMPLES, sealed, partition=partition_of("a", PARTITIONS)
    )
    await world.count(4.0)
    (line,) = (each.getMessage() for each in caplog.records if each.levelname == "ERROR")
    assert line.startswith(
        f"topic {SAMPLES}, partition {sent.partition}, offset {sent.offset}: expected samples"
    )
    assert "faust -A sparkle_app rebuild" in line
    assert await world.committed() == 3
    assert world.in_sql() == {("a", 0): (2, 5.0)}
    assert world.in_table() == {("a", 0): 2}


@pytest.mark.parametrize("point", WRITING)
async def test_an_unexpected_error_ends_the_process_before_the_batch_is_acknowledged(
    world: World, point: str
) -> None:
    world.points[point] = raising(ValueError("a defect"))
    with pytest.raises(ProcessExited, match="1 sample message"):
        await world.count(1.0)
    assert world.acked() == []
    assert await world.committed() == 0
    await world.restart()
    await world.worker.work()
    assert world.in_sql() == {("a", 0): (1, 1.0)}
    assert world.in_table() == {("a", 0): 1}


@pytest.mark.parametrize("point", [each for each in WRITING if each != "send"])
async def test_a_step_is_retried_after_transient_errors(world: World, point: str) -> None:
    async def fail_again() -> None:
        world.points[point] = raising(TransientError("still unavailable"))
        raise TransientError("unavailable")

    world.points[point] = fail_again
    before = world.clock.now
    await world.count(1.0)
    assert len(world.clock.slept) == 2
    assert 0.24 <= world.clock.now - before <= 0.36
    assert world.in_sql() == {("a", 0): (1, 1.0)}
    assert len(world.acked()) == 1


class Faulty:
    """Lets `load_readings` of the plugin raise an exception until it is corrected."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
        self.error: BaseException | None = error
        load_readings = Plain.load_readings

        def load(plugin: Plain, *arguments: Any) -> Any:
            if self.error:
                raise self.error
            return load_readings(plugin, *arguments)

        monkeypatch.setattr(Plain, "load_readings", load)

    def correct(self) -> None:
        self.error = None


@pytest.mark.parametrize("error", [KeyError("secret"), SystemExit("secret")])
async def test_samples_wait_until_an_exception_of_the_plugin_is_corrected(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
) -> None:
    faulty = Faulty(monkeypatch, error)
    sleep = world.clock.sleep

    async def correct(seconds: float) -> None:
        assert (world.in_sql(), world.acked()) == ({}, [])
        faulty.correct()
        await sleep(seconds)

    monkeypatch.setattr(world.clock, "sleep", correct)
    world.clock.replace_sleep_of_retries(monkeypatch)
    await world.count(1.0)
    (line, *_) = caplog.messages
    assert f"plugin Plain: {type(error).__name__} at {__file__}:" in line
    assert "correct the plugin, and restart the workers" in line
    assert "secret" not in line
    assert world.in_sql() == {("a", 0): (1, 1.0)}
    assert len(world.acked()) == 1


async def test_other_tables_do_not_wait_until_an_exception_of_the_plugin_is_corrected(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.count(1.0)
    await world.broker.create_topic(CHANGELOG, PARTITIONS)
    faulty = Faulty(monkeypatch, KeyError())
    await world.restart()
    ((stage, _, cause),) = METRICS.stages.in_progress()
    assert (stage, cause.partition(" at ")[0]) == ("restore", "plugin Plain: KeyError")
    assert world.in_table() == {}
    faulty.correct()
    await world.count(2.0)
    assert METRICS.stages.in_progress() == []
    assert world.in_table() == {("a", 0): 2}
    assert world.in_sql() == {("a", 0): (2, 3.0)}


async def test_a_write_to_the_changelog_that_was_not_acknowledged_is_retried(world: World) -> None:
    world.points["send"] = raising(NotEnoughReplicasError())
    await world.forward(*world.store(1.0), *world.store(2.0, hostname="b"), *world.store(3.0, hostname="c"))
    await world.worker.work()
    assert len(world.clock.slept) == 1
    await world.restart()
    assert world.in_table() == {("a", 0): 1, ("b", 0): 1, ("c", 0): 1}


async def test_a_bucket_that_only_the_changelog_contains_is_written_to_sql_after_redelivery(
    world: World,
) -> None:
    await world.count(1.0)
    world.points["store"] = raising(ValueError("the process dies"))
    with pytest.raises(ProcessExited):
        await world.count(2.0)
    assert world.in_sql() == {("a", 0): (1, 1.0)}
    await world.restart()
    assert world.in_table() == {("a", 0): 2}
    await world.worker.work()
    assert world.in_sql() == {("a", 0): (2, 3.0)}


async def test_if_the_changelog_is_lost_the_table_is_restored_from_sql_before_samples_are_counted(
    world: World,
) -> None:
    await world.count(1.0, 2.0)
    await world.broker.create_topic(CHANGELOG, PARTITIONS)
    await world.restart()
    assert world.in_table() == {("a", 0): 2}
    assert len(changelog(world)) == 1
    await world.count(4.0)
    assert world.in_sql() == {("a", 0): (3, 7.0)}


async def test_an_outdated_bucket_in_the_changelog_is_recomputed(world: World) -> None:
    await world.count(1.0)
    stale = changelog(world)[-1]
    await world.count(2.0)
    await world.append_to_changelog(stale)
    await world.restart()
    assert world.in_table() == {("a", 0): 2}


async def test_sql_counts_every_reading_after_an_outdated_bucket_beyond_the_window_retention_is_recovered(
    world: World,
) -> None:
    await world.count(1.0)
    stale = changelog(world)[-1]
    await world.count(2.0)
    await world.append_to_changelog(stale)
    world.clock.now += RETENTION_SECONDS + 120
    await world.restart()
    await world.count(4.0)
    assert world.in_sql() == {("a", 0): (3, 7.0)}


async def test_sql_counts_every_reading_after_a_rebalance_recovers_a_bucket_beyond_the_window_retention(
    world: World,
) -> None:
    await world.count(1.0)
    world.clock.now += RETENTION_SECONDS + 120
    # The bucket has been removed from the table, but not yet from the changelog topic.
    world.points["flush"] = world.rebalance
    await world.count(0.0, hostname="b")
    await world.count(2.0)
    await world.count(4.0)
    assert world.in_sql()["a", 0] == (3, 7.0)


@pytest.mark.parametrize(
    ("error", "waits"),
    [(TransientError("unavailable"), 1), (NotEnoughReplicasError(), 1), (ValueError("a defect"), 0)],
)
async def test_restoring_the_table_is_retried_after_a_transient_error_and_otherwise_ends_the_process(
    world: World, error: Exception, waits: int
) -> None:
    await world.count(1.0)
    await world.broker.create_topic(CHANGELOG, PARTITIONS)
    world.points["send" if waits else "flush"] = raising(error)
    if isinstance(error, TransientError):
        world.points["flush"] = world.points.pop("send")
    if waits:
        await world.restart()
        assert world.in_table() == {("a", 0): 1}
    else:
        with pytest.raises(ProcessExited, match="could not be restored"):
            await world.restart()
    assert len(world.clock.slept) == waits


@pytest.mark.parametrize("deleted", [True, False])
async def test_readings_that_expired_before_they_were_counted_are_counted_as_such(
    world: World, caplog: pytest.LogCaptureFixture, deleted: bool
) -> None:
    before = value("readings_expired", reason="uncounted")
    old = AT - 100 * span(DAY)
    waiting = world.store(1.0, 2.0, at=old) + world.store(4.0, hostname="b", at=old)
    kept = world.store(8.0, at=old + span(DAY))
    with world.engine.begin() as connection:
        watermarks(connection, NAME, 60, lock=True)
    advance(world.engine, NAME, READINGS, kept_since=old + span(DAY))
    if deleted:
        with world.engine.begin() as connection:
            assert delete_readings(connection, DataFrame.__table__, ["a", "b"], old, old + 1) == 3
    await world.forward(*waiting, *kept)
    await world.count(16.0)
    assert set(world.in_sql().values()) == {(1, 8.0), (1, 16.0)}
    assert value("readings_expired", reason="uncounted") == before + 3
    (line,) = (each.getMessage() for each in caplog.records if "expired" in each.name)
    assert line.startswith("3 readings missing in aggregates, unless counted before: retention")


async def test_a_worker_that_was_replaced_cannot_commit(world: World) -> None:
    suspended = world.worker
    world.points["commit"] = world.restart
    await world.forward(*world.store(1.0))
    await suspended.work()
    assert await world.committed() == 0
    await world.worker.work()
    assert await world.committed() == 1
    assert world.in_sql() == {("a", 0): (1, 1.0)}
