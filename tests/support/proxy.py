"""A TCP proxy that can forget its connections, as a NAT or a load balancer does."""

import contextlib
import socket
import threading

from tests.support.processes import free_port


class Proxy:
    """Passes the connections to ``address`` on to ``target``.

    Arguments:
        target: ``HOST:PORT``; new connections follow when it changes.
    """

    def __init__(self, target: str = "") -> None:
        self.target = target
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._lock = threading.Lock()
        self._forgotten = 0
        self._accepted: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def forget(self) -> None:
        """Swallow everything on the connections that exist, in both directions, without closing one.

        New connections work.
        """
        with self._lock:
            self._forgotten = len(self._accepted)

    def close(self) -> None:
        """Close all connections, and accept no more."""
        self._server.close()
        for end in self._accepted:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                host, port = self.target.rsplit(":", 1)
                try:
                    server = socket.create_connection((host, int(port)))
                except OSError:
                    client.close()
                    continue
                with self._lock:
                    number = len(self._accepted)
                    self._accepted += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(number, *pair), daemon=True).start()

    def _pass_on(self, number: int, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if number >= self._forgotten:
                    sink.sendall(data)
        if number >= self._forgotten:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)
        # The other end of a forgotten connection does not learn that this one is closed.
        source.close()
