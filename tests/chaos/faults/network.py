"""Faults of the network."""

from collections.abc import Iterator

from tests.chaos.world import World


def forget_connections(world: World) -> Iterator[float]:
    """Forget the workers' connections to the broker and to the database, without closing them; three times."""
    for _ in range(3):
        yield from forget_once(world)
        yield 15


def forget_once(world: World) -> Iterator[float]:
    """Forget the workers' connections."""
    for proxy in (*world.listeners, world.proxy):
        proxy.forget()
    yield 0
