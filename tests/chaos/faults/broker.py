"""Faults of the broker."""

from collections.abc import Iterator

from confluent_kafka.admin import AdminClient, NewPartitions

from tests.chaos.world import PARTITIONS, World


def restart_broker(world: World) -> Iterator[float]:
    """The broker ends and starts again, five times."""
    for _ in range(5):
        world.broker.stop()
        yield 1
        world.broker.start()
        yield 3


def kill_broker(world: World) -> Iterator[float]:
    """Kill -9 of the broker."""
    world.broker.kill()
    yield 2
    world.broker.start()


def broker_away(world: World) -> Iterator[float]:
    """No broker for 60 s."""
    world.broker.stop()
    yield 60
    world.broker.start()


def more_partitions(world: World) -> Iterator[float]:
    """The collectors' topic gets more partitions than before."""
    admin = AdminClient({"bootstrap.servers": world.broker.bootstrap})
    topic = world.workspace.topic
    admin.create_partitions([NewPartitions(topic, PARTITIONS + 3)])[topic].result(20)
    for _ in range(60):
        yield 1
        if any(partition >= PARTITIONS for partition, _ in world.sender.acknowledged()):
            return
    raise AssertionError("nothing was sent to the new partitions within 60 s")
