"""A TCP switch: connections stay with the server to which they were made; new ones lead to the current one."""

import contextlib
import socket
import threading

from tests.support.processes import free_port

_CHUNK = 65_536


class Switch:
    """Forwards connections to one of several servers on this machine, as a virtual address does after a failover.

    Arguments:
        target: port of the first server.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.target = target
        """Port of the server of new connections."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Close the listener and all connections."""
        # Closing alone would not end the calls that wait in other threads.
        for end in (self._listener, *self._ends):
            _shut(end)

    def _accept(self) -> None:
        with contextlib.suppress(OSError), self._listener:
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    client.close()
                    continue
                self._ends += (client, server)
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                sink.sendall(data)
        # The other direction ends as well, and closes its source.
        _shut(sink)
        self._ends.remove(source)
        source.close()


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
