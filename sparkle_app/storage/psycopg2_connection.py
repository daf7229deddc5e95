"""Connections of psycopg2 whose calls have deadlines."""

import select
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import psycopg2
from psycopg2.extensions import (
    POLL_OK,
    POLL_READ,
    POLL_WRITE,
    STATUS_BEGIN,
    STATUS_READY,
    connection,
    cursor,
    set_wait_callback,
)
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL

from sparkle_app.storage.deadlines import CONNECT_SECONDS, PING_SECONDS, answer_in_time


def make_psycopg2_engine(
    url: URL, arguments: Mapping[str, Any], options: Mapping[str, Any], *, for_command: bool
) -> Engine:
    """An engine with such connections.

    Arguments:
        arguments: of libpq.
        options: of the engine.
        for_command: whether Ctrl-C ends a statement.
    """
    if for_command:
        set_wait_callback(wait_for_answer)
    factories = {"connection_factory": TimedConnection, "cursor_factory": TimedCursor}
    return create_engine(
        url, executemany_mode="values_plus_batch", connect_args={**arguments, **factories}, **options
    )


class TimedConnection(connection):  # type: ignore[misc]
    """A connection that is closed if the server does not answer a call in time."""

    seconds: float | None = PING_SECONDS
    """Time limit of statements and commits; None: none. PING_SECONDS as long as the connection is in the pool."""

    def in_time(self, seconds: float | None, call_name: str = "ping") -> AbstractContextManager[None]:
        """A call that may take ``seconds``; see :func:`answer_in_time`."""
        return answer_in_time(self, psycopg2, seconds, call_name)

    # SQLAlchemy sets the following two; if the isolation level is not the default, each is a statement.
    @property
    def autocommit(self) -> bool:
        """Whether each statement is a transaction."""
        return bool(super().autocommit)

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        with self.in_time(PING_SECONDS):
            connection.autocommit.__set__(self, value)

    def set_isolation_level(self, level: int | str | None) -> None:
        """Set the isolation level of the next transactions."""
        with self.in_time(PING_SECONDS):
            super().set_isolation_level(level)

    def commit(self) -> None:
        """Commit the transaction."""
        with self.in_time(self.seconds):
            super().commit()

    def rollback(self) -> None:
        """Roll the transaction back."""
        with self.in_time(PING_SECONDS, "rollback"):
            super().rollback()


class TimedCursor(cursor):  # type: ignore[misc]
    """A cursor of such a connection, with its time limit for each method that waits for the server."""

    def execute(self, query: Any, vars: Any = None) -> None:
        """Execute a statement."""
        with self.connection.in_time(self.connection.seconds):
            super().execute(query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        """Execute a statement for each element; the limit is that of all of them together."""
        with self.connection.in_time(self.connection.seconds):
            super().executemany(query, vars_list)

    def callproc(self, *arguments: Any) -> Any:
        """Call a stored procedure."""
        with self.connection.in_time(self.connection.seconds):
            return super().callproc(*arguments)

    def copy_expert(self, *arguments: Any, **options: Any) -> None:
        """Execute COPY."""
        with self.connection.in_time(self.connection.seconds):
            super().copy_expert(*arguments, **options)

    def copy_from(self, *arguments: Any, **options: Any) -> None:
        """Execute COPY … FROM."""
        with self.connection.in_time(self.connection.seconds):
            super().copy_from(*arguments, **options)

    def copy_to(self, *arguments: Any, **options: Any) -> None:
        """Execute COPY … TO."""
        with self.connection.in_time(self.connection.seconds):
            super().copy_to(*arguments, **options)


def wait_for_answer(connection: Any) -> None:
    """Wait for the server in Python, so that a signal interrupts it: libpq would continue to wait."""
    connecting = connection.status not in (STATUS_READY, STATUS_BEGIN)
    deadline = time.monotonic() + CONNECT_SECONDS
    while (state := connection.poll()) != POLL_OK:
        # connect_timeout only applies when libpq waits.
        left = max(deadline - time.monotonic(), 0) if connecting else None
        ready = select.select(
            [connection] * (state == POLL_READ), [connection] * (state == POLL_WRITE), [], left
        )
        if not any(ready):
            raise psycopg2.OperationalError("timeout expired")
