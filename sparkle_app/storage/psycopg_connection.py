"""Connections of psycopg (version 3) whose calls have deadlines."""

import logging
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import Connection
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL

from sparkle_app.storage.deadlines import PING_SECONDS, answer_in_time

# No statement is prepared: behind PgBouncer, the next one may use another connection to the server.
_ARGUMENTS = {"prepare_threshold": None}

# It warns of errors that it raises as well.
logging.getLogger("psycopg").setLevel(logging.ERROR)


def make_psycopg_engine(url: URL, arguments: Mapping[str, Any], options: Mapping[str, Any]) -> Engine:
    """An engine with such connections.

    Arguments:
        arguments: of libpq.
        options: of the engine.
    """
    engine = create_engine(url, connect_args={**arguments, **_ARGUMENTS}, **options)

    @event.listens_for(engine, "do_connect")
    def on_connect(_dialect: Any, _record: Any, positional: Any, named: Any) -> TimedConnection:
        return TimedConnection.connect(*positional, **named)

    return engine


class TimedConnection(Connection[Any]):
    """A connection that is closed if the server does not answer a call in time."""

    seconds: float | None = PING_SECONDS
    """Time limit of statements and commits; None: none. PING_SECONDS as long as the connection is in the pool."""
    _call = "ping"

    def wait(self, *arguments: Any, **options: Any) -> Any:
        """Wait for the server: each method that needs an answer calls this one."""
        with answer_in_time(self, psycopg, self.seconds, self._call):
            return super().wait(*arguments, **options)

    def rollback(self) -> None:
        """Roll the transaction back."""
        limit, self.seconds, self._call = self.seconds, PING_SECONDS, "rollback"
        try:
            super().rollback()
        finally:
            self.seconds, self._call = limit, "ping"
