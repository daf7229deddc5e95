"""Faults of the network."""

from collections.abc import Iterator

from tests.chaos.world import World


def forget_connections(world: World) -> Iterator[float]:
    """Forget the workers' connections to the broker and to the database, without closing them; three times."""
    for _ in range(3):
        for proxy in world.proxies:
            proxy.forget()
        yield 15
