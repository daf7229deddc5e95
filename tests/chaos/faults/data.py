"""Faults of what is kept, and of what is sent."""

from collections.abc import Iterator

from confluent_kafka.admin import AdminClient

from tests.chaos.world import WORKERS, World
from tests.support.produce import consume_all


def replay_of_everything(world: World) -> Iterator[float]:
    """A captured topic that is sent again, as a whole."""
    world.sender.flush()
    known = world.sender.acknowledged()
    captured = consume_all(world.broker.bootstrap, world.workspace.topic)
    world.sender.send(
        *(
            known[record.partition, record.offset]
            for record in captured
            if (record.partition, record.offset) in known
        )
    )
    yield 0


def state_lost(world: World) -> Iterator[float]:
    """The tables' changelogs and the workers' data are deleted while no worker runs."""
    world.wanted = [False] * WORKERS
    for worker in world.workers:
        worker.kill()
    admin = AdminClient({"bootstrap.servers": world.broker.bootstrap})
    changelogs = [name for name in admin.list_topics(timeout=10).topics if name.endswith("-changelog")]
    assert changelogs, "there is no changelog to delete"
    for future in admin.delete_topics(changelogs).values():
        future.result(20)
    for path in sorted(world.workspace.data.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    yield 2
    world.wanted = [True] * WORKERS
