"""Faults of the broker."""

import signal
from collections.abc import Iterator

from confluent_kafka.admin import AdminClient, NewPartitions

from tests.chaos.world import PARTITIONS, World


def restart_broker(world: World) -> Iterator[float]:
    """Restart the broker five times."""
    for _ in range(5):
        yield from restart_once(world)
        yield 3


def restart_once(world: World) -> Iterator[float]:
    """Restart the broker."""
    world.broker.stop()
    yield 1
    world.broker.start()


def kill_broker(world: World) -> Iterator[float]:
    """Kill the broker with SIGKILL."""
    world.broker.kill()
    yield 2
    world.broker.start()


def stop_broker(world: World) -> Iterator[float]:
    """Stop the broker for 60 s."""
    world.broker.stop()
    yield 60
    world.broker.start()


def suspend_broker(world: World) -> Iterator[float]:
    """Suspend the broker for 30 s: connections are accepted, but no request is answered."""
    world.broker.process.send(signal.SIGSTOP)
    yield 30
    world.broker.process.send(signal.SIGCONT)


def add_partitions(world: World) -> Iterator[float]:
    """Add partitions to the plugin topic."""
    admin = AdminClient({"bootstrap.servers": world.broker.bootstrap})
    topic = world.workspace.topic
    admin.create_partitions([NewPartitions(topic, PARTITIONS + 3)])[topic].result(20)
    for _ in range(60):
        yield 1
        if any(partition >= PARTITIONS for partition, *_ in world.sender.acknowledged()):
            return
    raise AssertionError("no record in the new partitions after 60 s")
