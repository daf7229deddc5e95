"""Time limits of connections to brokers: one that hangs is not waited for again and again."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from sparkle_app.kafka import timeouts


class SilentBroker:
    """Accepts connections, as the kernel does for a process that hangs, and never answers."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)
        self.host, self.port = self._server.getsockname()
        self._accepted: list[socket.socket] = []

    def connections(self) -> int:
        """How many connections there have been."""
        while True:
            try:
                self._accepted.append(self._server.accept()[0])
            except BlockingIOError:
                return len(self._accepted)

    def close(self) -> None:
        for each in (self._server, *self._accepted):
            each.close()


@pytest.fixture
def silent() -> Iterator[SilentBroker]:
    broker = SilentBroker()
    yield broker
    broker.close()


async def connect(broker: SilentBroker) -> None:
    with pytest.raises(TimeoutError, match=rf"^127\.0\.0\.1:{broker.port} has not answered within 0.2 s$"):
        await timeouts.create_conn(broker.host, broker.port)


async def test_a_broker_that_hangs_is_not_connected_to_again_for_a_while(
    silent: SilentBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(timeouts, "RECONNECT_SECONDS", 3600)
    await connect(silent)
    await connect(silent)
    assert silent.connections() == 1
    other = SilentBroker()
    try:
        await connect(other)
        assert other.connections() == 1
    finally:
        other.close()


async def test_it_is_connected_to_again_later(silent: SilentBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(timeouts, "RECONNECT_SECONDS", 0.1)
    await connect(silent)
    await asyncio.sleep(0.2)
    await connect(silent)
    assert silent.connections() == 2
