"""Faults of records and of stored state."""

from collections.abc import Iterator

from confluent_kafka.admin import AdminClient

from tests.chaos.sending import Place
from tests.chaos.world import STORM, WORKERS, World
from tests.support.produce import consume_all


def duplicate_all_records(world: World) -> Iterator[float]:
    """Produce all records of the plugin topic once more."""
    world.sender.flush()
    known = world.sender.acknowledged()
    captured = consume_all(world.broker.bootstrap, world.workspace.topic)
    world.sender.send(
        *(
            known[place]
            for record in captured
            if (place := Place(record.partition, record.offset, record.timestamp)) in known
        )
    )
    yield 0


def sensor_storm(world: World) -> Iterator[float]:
    """Send the value of a missing sensor 5,000 times: more than are kept of one cause."""
    world.sender.send(*(world.sender.make_nonsense() for _ in range(STORM)))
    yield 5


def delete_state(world: World) -> Iterator[float]:
    """Delete the changelog topics and the data folder while no worker runs."""
    world.should_run = [False] * WORKERS
    for worker in world.workers:
        worker.kill()
    admin = AdminClient({"bootstrap.servers": world.broker.bootstrap})
    changelogs = [name for name in admin.list_topics(timeout=10).topics if name.endswith("-changelog")]
    assert changelogs, "found no changelog topic to delete"
    for future in admin.delete_topics(changelogs).values():
        future.result(20)
    for path in sorted(world.workspace.data.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    yield 2
    world.should_run = [True] * WORKERS
