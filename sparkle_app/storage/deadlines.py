"""Deadlines of calls that wait for a database: a proxy may forget a connection, and still answer the probes of TCP."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Engine, event

CONNECT_SECONDS = 5
"""How long a server may take to accept a connection."""
PING_SECONDS = 5
"""For the ping of a connection from the pool, a change of its mode, and a rollback: a server that is there answers at
once."""

logger = logging.getLogger(__name__)


class Call:
    """A call that waits for an answer on a socket."""

    def __init__(self, own: socket.socket, at: float) -> None:
        self.socket = own
        self.at = at
        self.expired = False
        """Whether the deadline has passed."""


class Deadlines:
    """Shuts down the socket of a call when its deadline passes: whatever library waits for an answer gets an error.

    One thread serves all calls. It starts with the first of them.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: set[Call] = set()
        self._next = float("inf")
        self._thread: threading.Thread | None = None

    @contextmanager
    def limit(self, descriptor: int, seconds: float) -> Iterator[Call]:
        """A call on the socket of this descriptor, which may take ``seconds``."""
        # A descriptor of its own: by the time of the shutdown, the library may have closed the other.
        with socket.socket(fileno=os.dup(descriptor)) as own:
            call = Call(own, time.monotonic() + seconds)
            self._add(call)
            try:
                yield call
            finally:
                with self._changed:
                    self._calls.discard(call)

    def _add(self, call: Call) -> None:
        with self._changed:
            self._calls.add(call)
            if not self._thread:
                self._thread = threading.Thread(target=self._run, name="database-deadlines", daemon=True)
                self._thread.start()
            if call.at < self._next:
                self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for call in [each for each in self._calls if each.at <= now]:
                    self._calls.discard(call)
                    call.expired = True
                    with suppress(OSError):
                        call.socket.shutdown(socket.SHUT_RDWR)
                self._next = min((call.at for call in self._calls), default=float("inf"))
                self._changed.wait(max(self._next - now, 0) if self._calls else None)


_deadlines = Deadlines()


@contextmanager
def answer_in_time(connection: Any, driver: Any, seconds: float | None, call_name: str) -> Iterator[None]:
    """A call of a connection to PostgreSQL, which is closed if the server does not answer in time.

    Arguments:
        driver: the module psycopg2 or psycopg.
        seconds: how long the call may take; None: no limit.
        call_name: for the log.

    Raises:
        OperationalError: the driver's, if the call takes longer.
    """
    if connection.closed or seconds is None:
        yield
        return
    server = f"{connection.info.host}:{connection.info.port}"
    with _deadlines.limit(connection.fileno(), seconds) as call:
        try:
            yield
        except driver.Error as error:
            if not call.expired:
                raise
            connection.close()
            if seconds == PING_SECONDS:
                # SQLAlchemy catches the error.
                logger.warning(
                    "the database at %s did not respond to a %s within %g s: reconnecting",
                    server,
                    call_name,
                    seconds,
                )
            raise driver.OperationalError(f"{server} has not answered for {seconds:g} s") from error


def limit_calls(engine: Engine, seconds: float | None, *, in_pool: float) -> None:
    """Set the attribute ``seconds`` of an engine's connections, which limits each call.

    Arguments:
        seconds: while a connection is in use; None: no limit.
        in_pool: while it is in the pool, for the ping that precedes its next use.
    """

    @event.listens_for(engine, "checkout")
    def on_checkout(connection: Any, *_: Any) -> None:
        connection.seconds = seconds

    @event.listens_for(engine, "checkin")
    def on_checkin(connection: Any, *_: Any) -> None:
        # None: it has been invalidated.
        if connection:
            connection.seconds = in_pool
