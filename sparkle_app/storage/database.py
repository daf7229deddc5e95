"""The engine for a database URL, and what a fault of the database means."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from sparkle_app.errors import StartupFault, TransientFault

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
    # What a suspended worker has locked is free again when its partitions are another's; no wait is without end.
    "options": "-c idle_in_transaction_session_timeout=15s -c lock_timeout=10s -c statement_timeout=60s",
}
# SQLSTATE classes that concern the data: data exception, integrity constraint, program limit exceeded.
_ROWS_FAULT = ("22", "23", "54")


def make_engine(url: URL) -> Engine:
    """An engine whose transactions are durable once committed and wait for each other."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    return create_engine(
        url,
        executemany_mode="values_plus_batch",
        pool_pre_ping=True,
        connect_args=_POSTGRESQL,
    )


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that only reads, all of one moment; it never waits for one that writes."""
    options: dict[str, Any] = {_READ_ONLY: True}
    if engine.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"
    with engine.connect().execution_options(**options) as connection:
        yield connection


def refuses_row(error: Exception) -> bool:
    """Whether the rows themselves are at fault, so that trying again is no use.

    Everything else that a database says (not there, locked, full, no such table) may be mended without us.
    """
    if isinstance(error, DataError | IntegrityError):
        return True
    if isinstance(error, DBAPIError) and str(getattr(error.orig, "pgcode", "")).startswith(_ROWS_FAULT):
        return True
    if isinstance(error, DBAPIError):
        return False
    return isinstance(error, StatementError) or not isinstance(error, SQLAlchemyError | OSError | MemoryError)


def transient(error: Exception) -> TransientFault:
    """The fault as the one line that the log shows."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return TransientFault(f"database: {' '.join(str(cause).split())}")


def can_be_made(url: URL) -> bool:
    """Whether the database is an SQLite file that is not there yet; changes nothing.

    Raises:
        StartupFault: when it could not be made either.
    """
    file = Path(url.database or "")
    if url.get_backend_name() != "sqlite" or file.exists():
        return False
    folder = next(parent for parent in file.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise _no_folder(file.parent, os.strerror(errno.EACCES if folder.is_dir() else errno.ENOTDIR))
    return True


def _no_folder(folder: Path, found: str) -> StartupFault:
    return StartupFault(
        "database.url", expected=f"a folder {folder} to write to", found=found, hint="choose another"
    )


def _sqlite(url: URL) -> Engine:
    folder = Path(url.database or "").parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(folder, error.strerror or str(error)) from error
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        # The driver would begin late and unasked; on_begin does it instead.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        # Committed means on disk: NORMAL could lose what was acknowledged when power fails.
        connection.execute("PRAGMA synchronous=FULL")
        # Ids are random, so each batch changes pages all over their index: keep those in memory (32 MB), and copy them
        # from the log to the file seldom, each once for many changes (64 MB). Together they halve the cost of a row.
        connection.execute("PRAGMA cache_size=-32768")
        connection.execute("PRAGMA wal_autocheckpoint=16384")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        # A writer takes its lock at once: one that upgrades later is refused instead of made to wait.
        read_only = connection.get_execution_options().get(_READ_ONLY)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
