"""The bucket table: changelog topic, recovery, and index by host."""

from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import NotEnoughReplicasError

from sparkle_app.aggregate.aggregator import Aggregator
from sparkle_app.kafka.consumer import SESSION_SECONDS
from sparkle_app.kafka.topology import partition_of
from sparkle_app.model.errors import TransientError
from sparkle_app.sealed.cipher import Cipher
from tests.support.aggregate_worker import CHANGELOG, CIPHER, PARTITIONS, RETENTION_SECONDS, AggregateWorker
from tests.support.aggregate_world import World
from tests.support.process_exit import ProcessExited

SECRET = b"twenty degrees"
AD = CHANGELOG.encode()


@pytest.fixture
def world(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """With a table that keeps buckets since the epoch, and those without stored readings."""

    async def restore(_: Aggregator, generation: int) -> None:
        """Does nothing."""

    world.clock.now = RETENTION_SECONDS
    monkeypatch.setattr(Aggregator, "restore", restore)
    return world


def changelog(world: World) -> dict[int, list[tuple[Any, bytes | None]]]:
    """The decrypted messages of the changelog topic, by partition."""
    return {
        at.partition: [
            (msgspec.json.decode(each.key), each.value and CIPHER.decrypt(each.value, AD))
            for each in world.broker.records(at)
        ]
        for at in world.broker.partitions(CHANGELOG)
    }


async def append(world: World, key: Any, value: bytes | None, partition: int = 1) -> None:
    """Produce to the changelog topic, as another worker would."""
    encrypted = None if value is None else CIPHER.encrypt(value, AD)
    where = {"key": msgspec.json.encode(key), "partition": partition}
    await world.broker.producer().send_and_wait(CHANGELOG, encrypted, **where)


async def test_a_flush_writes_the_last_value_of_each_bucket_to_the_partition_of_its_host(
    world: World,
) -> None:
    table = world.worker.table
    table["a", 60] = b"first"
    table["a", 60] = b"second"
    table["d", 60] = SECRET
    await table.flush()
    assert partition_of("a", PARTITIONS) == 1
    assert changelog(world) == {0: [(["d", 60], SECRET)], 1: [(["a", 60], b"second")]}
    await table.flush()
    assert sum(map(len, changelog(world).values())) == 2


async def test_buckets_are_encrypted_in_the_changelog_topic(world: World) -> None:
    world.worker.table["d", 60] = SECRET
    await world.worker.table.flush()
    (record,) = world.broker.records(TopicPartition(CHANGELOG, 0))
    assert SECRET not in record.value
    assert record.key == b'["d",60]'


async def test_a_tombstone_is_written_for_a_removed_bucket(world: World) -> None:
    table = world.worker.table
    table["a", 60] = b"bucket"
    table.pop(("a", 60))
    await table.flush()
    assert changelog(world)[1] == [(["a", 60], None)]


async def test_more_buckets_than_fit_into_a_producer_batch_are_all_written(world: World) -> None:
    table = world.worker.table
    for start in range(200):
        table["a", start] = start.to_bytes(2) * 200
    # Larger than a producer batch.
    table["a", 999] = bytes(40_000)
    await table.flush()
    written = changelog(world)[1]
    assert [key for key, _ in written] == [*(["a", start] for start in range(200)), ["a", 999]]
    await world.restart()
    assert world.worker.table.data["a", 999] == bytes(40_000)
    assert len(world.worker.table.data) == 201


async def test_a_bucket_that_the_topic_does_not_take_is_kept_in_memory_only(world: World) -> None:
    table = world.worker.table
    table.max_message_bytes = 131_072
    table["a", 60], table["a", 120] = bytes(140_000), b"bucket"
    await table.flush()
    assert [key for key, _ in changelog(world)[1]] == [["a", 120]]
    assert table.data["a", 60] == bytes(140_000)


async def test_a_missing_acknowledgement_is_a_transient_error(world: World) -> None:
    async def refuse(at: TopicPartition) -> None:
        raise NotEnoughReplicasError

    world.worker.table["a", 60] = b"bucket"
    world.broker.before_append = refuse
    with pytest.raises(TransientError):
        await world.worker.table.flush()


async def refused(world: World) -> None:
    """Flush, while the broker does not acknowledge."""

    async def refuse(at: TopicPartition) -> None:
        raise NotEnoughReplicasError

    world.broker.before_append = refuse
    with pytest.raises(TransientError):
        await world.worker.table.flush()
    world.broker.before_append = None


async def test_what_was_not_acknowledged_is_written_by_the_next_flush(world: World) -> None:
    table = world.worker.table
    for start in (0, 60, 120):
        table["a", start] = b"old"
    await table.flush()
    table.prune(120)
    table["a", 120] = b"new"
    await refused(world)
    # What was set or removed since counts.
    table["a", 60] = b"again"
    await table.flush()
    assert changelog(world)[1][3:] == [(["a", 0], None), (["a", 60], b"again"), (["a", 120], b"new")]
    await table.flush()
    assert len(changelog(world)[1]) == 6


@pytest.mark.parametrize("during_flush", [False, True])
async def test_after_a_rebalance_nothing_is_written_that_was_not_acknowledged_before(
    world: World, during_flush: bool
) -> None:
    table = world.worker.table
    table["a", 60] = b"bucket"
    await table.flush()
    table.prune(120)
    if during_flush:
        world.points["send"] = world.rebalance
    await refused(world)
    if not during_flush:
        await world.rebalance()
    await table.flush()
    assert changelog(world)[1] == [(["a", 60], b"bucket")]
    assert list(table.data) == [("a", 60)]


async def test_the_table_is_recovered_from_its_changelog(world: World) -> None:
    for key, value in (
        (["a", 60], b"1"),
        (["b", 60], b"2"),
        (["a", 60], b"3"),
        (["b", 60], None),
        (["c", 0], b"4"),
    ):
        await append(world, key, value)
    await append(world, ["a", 120], None)
    await world.restart()
    table = world.worker.table
    assert dict(table.data.items()) == {("a", 60): b"3", ("c", 0): b"4"}
    assert sorted(table.hostnames()) == ["a", "c"]


async def test_recovery_writes_nothing_to_the_changelog_topic(world: World) -> None:
    await append(world, ["a", 60], b"1")
    await world.restart()
    await world.worker.table.flush()
    assert changelog(world)[1] == [(["a", 60], b"1")]


@pytest.mark.parametrize(
    "key", [b"not JSON", b"null", b'["a"]', b'[1, "a"]', b'["\xff", 1]', b"[" * 100_000, None]
)
async def test_an_invalid_key_ends_the_process_and_its_offset_is_named(
    world: World, key: bytes | None
) -> None:
    await append(world, ["a", 60], b"1")
    await world.broker.producer().send_and_wait(CHANGELOG, b"value", key=key, partition=1)
    with pytest.raises(ProcessExited) as exited:
        await world.restart()
    assert f"topic {CHANGELOG}, partition 1, offset 1" in str(exited.value)


@pytest.mark.parametrize(
    "encrypted",
    [b"", b"value", Cipher(b"x" * 32).encrypt(b"1", AD), CIPHER.encrypt(b"1", b"other")],
    ids=["empty", "other bytes", "another key", "another topic"],
)
async def test_a_value_that_cannot_be_decrypted_ends_the_process(world: World, encrypted: bytes) -> None:
    await world.broker.producer().send_and_wait(CHANGELOG, encrypted, key=b'["a",60]', partition=1)
    with pytest.raises(ProcessExited, match=f"topic {CHANGELOG}"):
        await world.restart()


async def test_the_buckets_of_a_host_in_a_time_range_are_found(world: World) -> None:
    table = world.worker.table
    for start in (0, 60, 120, 180):
        table["a", start] = str(start).encode()
    table["b", 60] = b"other"
    assert sorted(table.packed_buckets("a", 60, 180)) == [b"120", b"60"]
    assert list(table.packed_buckets("c", 0, 1000)) == []
    assert (table.has("a"), table.has("c")) == (True, False)
    table.pop(("b", 60))
    assert (table.has("b"), table.hostnames()) == (False, ["a"])


async def test_a_bucket_that_is_overwritten_is_found_once(world: World) -> None:
    table = world.worker.table
    table["a", 60] = b"1"
    table["a", 60] = b"2"
    assert list(table.packed_buckets("a", 0, 100)) == [b"2"]


async def test_prune_removes_buckets_that_start_before_a_time(world: World) -> None:
    table = world.worker.table
    for key in (("a", 0), ("a", 60), ("a", 120), ("b", 0)):
        table[key] = b"bucket"
    await table.flush()
    table.prune(60)
    assert set(table.data) == {("a", 60), ("a", 120)}
    assert table.hostnames() == ["a"]
    await table.flush()
    assert {tuple(key) for key, value in changelog(world)[1] if value is None} == {("a", 0), ("b", 0)}


async def test_after_a_rebalance_each_table_contains_only_the_hosts_of_its_partitions(world: World) -> None:
    table = world.worker.table
    table["a", 60] = table["d", 60] = b"bucket"
    await table.flush()
    assert table.assigned() == {0, 1}
    second = AggregateWorker(world.broker, world.engine, world.clock)
    await second.start()
    await world.worker.app.rebalance()
    both = (table, second.table)
    assert sorted(each.hostnames() for each in both) == [["a"], ["d"]]
    assert sorted(list(each.data) for each in both) == [[("a", 60)], [("d", 60)]]
    for each in both:
        assert each.assigned() == {partition_of(hostname, PARTITIONS) for hostname in each.hostnames()}


async def test_partitions_are_owned_after_recovery_and_within_the_session_timeout(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, table = world.worker.app, world.worker.table
    assert table.owned() == {0, 1}
    app.in_recovery = True
    assert table.owned() == set()
    app.in_recovery, app.rebalancing = False, True
    assert table.owned() == set()
    app.rebalancing = False
    now = app.batching.last_heartbeat + SESSION_SECONDS
    monkeypatch.setattr("sparkle_app.kafka.consumer.elapsed", lambda: now)
    assert table.owned() == set()
    assert table.assigned() == {0, 1}
