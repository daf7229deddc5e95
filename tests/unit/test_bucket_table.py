"""The table of buckets: its changelog, its recovery, its index of hosts."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import NotEnoughReplicasError

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
def world(world: World) -> World:
    """At a time at which the table keeps buckets from 1970 on."""
    world.clock.now = RETENTION_SECONDS
    return world


def changelog(world: World) -> dict[int, list[tuple[Any, bytes | None]]]:
    """The changelog, decrypted, by partition."""
    return {
        at.partition: [
            (msgspec.json.decode(each.key), each.value and CIPHER.decrypt(each.value, AD))
            for each in world.broker.records(at)
        ]
        for at in world.broker.partitions(CHANGELOG)
    }


async def append(world: World, key: Any, value: bytes | None, partition: int = 1) -> None:
    """Write to the changelog as another worker does."""
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


async def test_the_broker_never_has_a_bucket_in_plaintext(world: World) -> None:
    world.worker.table["d", 60] = SECRET
    await world.worker.table.flush()
    (record,) = world.broker.records(TopicPartition(CHANGELOG, 0))
    assert SECRET not in record.value
    assert record.key == b'["d",60]'


async def test_a_bucket_that_is_removed_leaves_a_tombstone(world: World) -> None:
    table = world.worker.table
    table["a", 60] = b"bucket"
    table.pop(("a", 60))
    await table.flush()
    assert changelog(world)[1] == [(["a", 60], None)]


async def test_many_buckets_travel_in_batches_none_of_them_lost(world: World) -> None:
    table = world.worker.table
    for start in range(200):
        table["a", start] = start.to_bytes(2) * 200
    # Larger than a batch.
    table["a", 999] = bytes(40_000)
    await table.flush()
    written = changelog(world)[1]
    assert [key for key, _ in written] == [*(["a", start] for start in range(200)), ["a", 999]]
    await world.restart()
    assert world.worker.table.data["a", 999] == bytes(40_000)
    assert len(world.worker.table.data) == 201


async def test_a_broker_that_does_not_acknowledge_is_a_transient_error(world: World) -> None:
    async def refuse(at: TopicPartition) -> None:
        raise NotEnoughReplicasError

    world.worker.table["a", 60] = b"bucket"
    world.broker.before_append = refuse
    with pytest.raises(TransientError):
        await world.worker.table.flush()


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


async def test_a_recovered_table_writes_nothing_by_itself(world: World) -> None:
    await append(world, ["a", 60], b"1")
    await world.restart()
    await world.worker.table.flush()
    assert changelog(world)[1] == [(["a", 60], b"1")]


@pytest.mark.parametrize("key", [b"no JSON", b"null", b'["a"]', b'[1, "a"]', None])
async def test_a_key_that_is_no_buckets_ends_the_process_with_its_place(
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


async def test_the_buckets_of_a_time_are_found_by_their_host(world: World) -> None:
    table = world.worker.table
    for start in (0, 60, 120, 180):
        table["a", start] = str(start).encode()
    table["b", 60] = b"other"
    assert sorted(table.packed_buckets("a", 60, 180)) == [b"120", b"60"]
    assert list(table.packed_buckets("c", 0, 1000)) == []
    assert (table.has("a"), table.has("c")) == (True, False)
    table.pop(("b", 60))
    assert (table.has("b"), table.hostnames()) == (False, ["a"])


async def test_a_bucket_that_is_written_again_is_found_once(world: World) -> None:
    table = world.worker.table
    table["a", 60] = b"1"
    table["a", 60] = b"2"
    assert list(table.packed_buckets("a", 0, 100)) == [b"2"]


async def test_pruning_removes_what_begins_before_an_instant(world: World) -> None:
    table = world.worker.table
    for key in (("a", 0), ("a", 60), ("a", 120), ("b", 0)):
        table[key] = b"bucket"
    await table.flush()
    table.prune(60)
    assert set(table.data) == {("a", 60), ("a", 120)}
    assert table.hostnames() == ["a"]
    await table.flush()
    assert {tuple(key) for key, value in changelog(world)[1] if value is None} == {("a", 0), ("b", 0)}


async def test_a_rebalance_leaves_each_worker_its_own_hosts(world: World) -> None:
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


async def test_a_worker_owns_its_partitions_once_they_are_complete_and_while_the_broker_answers(
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
    monkeypatch.setattr("sparkle_app.kafka.consumer.time", SimpleNamespace(monotonic=lambda: now))
    assert table.owned() == set()
    assert table.assigned() == {0, 1}
