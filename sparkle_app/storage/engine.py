"""The engine for a database URL, and what a fault of the database means."""

import errno
import os
import select
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import (
    POLL_OK,
    POLL_READ,
    POLL_WRITE,
    STATUS_BEGIN,
    STATUS_READY,
    set_wait_callback,
)
from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, DisconnectionError, NoSuchTableError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from sparkle_app.model.errors import ConfigurationError, TransientError
from sparkle_app.runtime.folders import blocking_path
from sparkle_app.storage.models import Base

BUSY_SECONDS = 30
CONNECT_SECONDS = 5
_READ_ONLY = "sparkle_read_only"
_POSTGRESQL = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "sparkle",
    # A server that vanished without a word is noticed within 30 s instead of hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
# What a suspended worker has locked is free again when its partitions are another's; no wait is without end.
_LIMITS = "-c idle_in_transaction_session_timeout=15s -c lock_timeout=10s"
_STATEMENT_SECONDS = 60
# Any number, the same in every worker: PostgreSQL's name for the lock under which tables are made.
_TABLES_LOCK = 7_275_339
# SQLSTATEs of a deadlock, and of a wait for a lock that took longer than lock_timeout.
_LOCK_STATES = ("40P01", "55P03")
# SQLSTATE classes, and single states, of what may be mended without us and concerns every row alike.
_TRANSIENT_STATES = (
    "08", "28", "3D", "3F", "40", "53", "55", "57", "58", "F0", "XX",
    # Read-only, as a standby is; sessions ended for their idleness.
    "25006", "25P03", "25P04",
    # No right to it; no such table, column or type; no such unique constraint: somebody else's schema.
    "42501", "42P01", "42703", "42704", "42P10",
)  # fmt: skip
_TRANSIENT_CODES = {
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOTADB,
}  # fmt: skip
# SQLite tells these apart from a row's faults by their words only.
_SCHEMA_MESSAGES = (
    "no such table",
    "no such column",
    "has no column named",
    "ON CONFLICT clause does not match",
)
# What a driver says by itself of a connection that is gone; its other words are about a value.
_CONNECTION_ERRORS = {
    psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.InternalError, psycopg2.DatabaseError,
}  # fmt: skip
_TRANSIENT_TYPES = (OSError, MemoryError, NoFreeConnection, DisconnectionError, NoSuchTableError)
_seen = threading.local()


def make_engine(url: URL, *, for_command: bool = False) -> Engine:
    """An engine whose transactions are durable once committed and wait for each other.

    Arguments:
        for_command: for the one thread of a command, whose statements may take their time: a person waits for them, and
            Ctrl-C ends them.
    """
    if url.get_backend_name() == "sqlite":
        engine = _sqlite(url)
    else:
        if for_command:
            set_wait_callback(_wait_for_answer)
        seconds = 0 if for_command else _STATEMENT_SECONDS
        engine = create_engine(
            url,
            executemany_mode="values_plus_batch",
            pool_pre_ping=True,
            connect_args={**_POSTGRESQL, "options": f"{_LIMITS} -c statement_timeout={seconds}s"},
        )

    @event.listens_for(engine, "handle_error")
    def on_error(context: ExceptionContext) -> None:
        error, faults = context.sqlalchemy_exception, getattr(_seen, "faults", None)
        if error and faults is not None and not context.is_pre_ping and not is_row_error(error):
            faults.append(error)

    return engine


def max_writers(engine: Engine) -> int:
    """How many threads may write to a database at the same time.

    One for SQLite, which lets one write at a time: who has to wait there looks again seldom, and may starve.
    """
    return 1 if engine.dialect.name == "sqlite" else sys.maxsize


def create_tables(engine: Engine) -> None:
    """Make the plugins' tables that are not there yet.

    Raises:
        SQLAlchemyError: when the database does not answer, or refuses.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # Two workers that start together would both find them missing.
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _TABLES_LOCK})
        Base.metadata.create_all(connection)


@contextmanager
def read_transaction(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that only reads, all of one moment; it never waits for one that writes."""
    options: dict[str, Any] = {_READ_ONLY: True}
    if engine.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"
    with engine.connect().execution_options(**options) as connection:
        yield connection


def is_row_error(error: Exception) -> bool:
    """Whether one of the rows, or what a plugin does with it, is at fault, so that trying again is no use.

    What may be mended without us (not there, locked, full, no such table, no right to it) and would refuse every row
    is named here; everything else is taken for a row's.
    """
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return False
    cause = error.orig if isinstance(error, StatementError) and error.orig else error
    return not (isinstance(cause, _TRANSIENT_TYPES) or _is_transient(cause))


def _is_transient(cause: BaseException) -> bool:
    """Whether a driver's error may be mended without us."""
    if isinstance(cause, sqlite3.Error):
        # Not there: the driver's own, about a value that it does not know.
        code = getattr(cause, "sqlite_errorcode", None)
        return code is not None and (
            code & 0xFF in _TRANSIENT_CODES or any(words in str(cause) for words in _SCHEMA_MESSAGES)
        )
    if not isinstance(cause, psycopg2.Error):
        return False
    return cause.pgcode.startswith(_TRANSIENT_STATES) if cause.pgcode else type(cause) in _CONNECTION_ERRORS


@contextmanager
def reraise_swallowed() -> Iterator[None]:
    """Within it, a fault of this thread's statements that may mend itself is raised in the end, whoever caught it: a
    plugin that only logs it would lose its row.

    Raises:
        DBAPIError: the first of them.
    """
    faults: list[Exception] = []
    _seen.faults = faults
    try:
        yield
    finally:
        _seen.faults = None
        if faults:
            raise faults[0]


def transient(error: Exception) -> TransientError:
    """The fault as the one line that the log shows."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return TransientError(f"database: {' '.join(str(cause).split())}")


def server_message(error: SQLAlchemyError) -> str | None:
    """What the database itself says to a statement that it refuses; None where it is not there, or lets nobody in."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(cause, sqlite3.Error):
        return None if getattr(cause, "sqlite_errorname", None) == "SQLITE_CANTOPEN" else str(cause)
    if isinstance(cause, psycopg2.Error) and cause.pgcode:
        return str(cause.diag.message_primary)
    return None


def is_lock_conflict(error: DBAPIError) -> bool:
    """Whether only another transaction was in the way, so that it may be tried again at once."""
    return getattr(error.orig, "pgcode", None) in _LOCK_STATES


def _wait_for_answer(connection: Any) -> None:
    """Wait until PostgreSQL has answered. libpq, which otherwise waits, would begin again after a signal."""
    connecting = connection.status not in (STATUS_READY, STATUS_BEGIN)
    deadline = time.monotonic() + CONNECT_SECONDS
    while (state := connection.poll()) != POLL_OK:
        # connect_timeout is libpq's alone as well.
        left = max(deadline - time.monotonic(), 0) if connecting else None
        ready = select.select(
            [connection] * (state == POLL_READ), [connection] * (state == POLL_WRITE), [], left
        )
        if not any(ready):
            raise psycopg2.OperationalError("timeout expired")


def can_be_created(url: URL) -> bool:
    """Whether the database is an SQLite file that is not there yet; changes nothing.

    Raises:
        ConfigurationError: when it could not be made either.
    """
    file = Path(url.database or "")
    if url.get_backend_name() != "sqlite" or file.exists():
        return False
    if blocking := blocking_path(file.parent):
        raise _folder_error(file.parent, os.strerror(errno.EACCES if blocking.is_dir() else errno.ENOTDIR))
    return True


def _folder_error(folder: Path, found: str) -> ConfigurationError:
    return ConfigurationError(
        "database.url", expected=f"a folder {folder} to write to", found=found, hint="choose another"
    )


def _sqlite(url: URL) -> Engine:
    folder = Path(url.database or "").parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _folder_error(folder, error.strerror or str(error)) from error
    # The connection that was used last is used next: others keep no pages in memory.
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, pool_use_lifo=True)

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        # The driver would begin late and unasked; on_begin does it instead.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        # Committed means on disk: NORMAL could lose what was acknowledged when power fails.
        connection.execute("PRAGMA synchronous=FULL")
        # Ids are random, so each batch changes pages all over their index: keep those in memory (32 MB a connection),
        # and copy them from the log to the file seldom, each once for many changes (64 MB). Both halve a row's cost.
        connection.execute("PRAGMA cache_size=-32768")
        connection.execute("PRAGMA wal_autocheckpoint=16384")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        # A writer takes its lock at once: one that upgrades later is refused instead of made to wait.
        read_only = connection.get_execution_options().get(_READ_ONLY)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
