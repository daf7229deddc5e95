"""Connections to the file of a SQLite database, in WAL mode."""

import errno
import logging
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.runtime.folders import blocking_path
from sparkle_app.storage.dialects.base import READ_ONLY
from sparkle_app.storage.dialects.sqlite_errors import primary_code
from sparkle_app.storage.dialects.sqlite_file import limit_time
from sparkle_app.storage.statements import name_key

_BUSY_SECONDS = 30
_BUSY_PAUSE_SECONDS = 0.01
_WAL = "sparkle_wal"
"""Key of a connection's info: whether the file is known to be in WAL mode."""
_MAX_WAL_BYTES = 64 * 1024 * 1024
# Of a transaction that only reads, in a worker: as PostgreSQL's statements. The WAL grows until it ends.
_READ_SECONDS = 60

logger = logging.getLogger(__name__)


def make_sqlite_engine(url: URL, *, for_command: bool) -> Engine:
    """An engine whose connections use WAL mode; creates the folder of the file, for the own user only.

    Arguments:
        for_command: for the single thread of a command: its statements have no time limit.

    Raises:
        ConfigurationError: when the folder cannot be created.
    """
    folder = database_file(url).parent
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _folder_error(folder, error.strerror or str(error)) from error
    # Reuse the connection that was used last, so that only one page cache fills.
    engine = create_engine(
        url, connect_args={"timeout": _BUSY_SECONDS}, pool_use_lifo=True, hide_parameters=True
    )

    unusual: list[str] = []

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        # Only migrations call these.
        connection.create_function("sparkle_unhex", 1, bytes.fromhex, deterministic=True)
        connection.create_function("sparkle_key", 1, name_key, deterministic=True)
        # Transactions are begun by on_begin, not by the driver.
        connection.isolation_level = None
        # After a long read transaction, during which the WAL grew, its file is truncated.
        connection.execute(f"PRAGMA journal_size_limit={_MAX_WAL_BYTES}")
        # Every commit is flushed to disk: with NORMAL, a power failure could lose acknowledged readings.
        connection.execute("PRAGMA synchronous=FULL")
        # Ids are random, so a batch changes pages everywhere in the index. A larger page cache (32 MB per
        # connection) and less frequent checkpoints (every 64 MB of WAL) together halve the cost of a row.
        connection.execute("PRAGMA cache_size=-32768")
        connection.execute("PRAGMA wal_autocheckpoint=16384")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        # Writers lock the database when they begin: a read transaction that starts to write can fail with
        # SQLITE_BUSY without waiting.
        if connection.get_execution_options().get(READ_ONLY):
            connection.exec_driver_sql("BEGIN")
            if not for_command:
                limit_time(connection, _READ_SECONDS)
            return
        limit_time(connection, None)
        # Changes the file, in which the mode is stored. Reading must not: `check` and `verify` only read.
        if not connection.info.get(_WAL):
            # Has no effect unless the file is empty.
            connection.exec_driver_sql("PRAGMA auto_vacuum=INCREMENTAL")
            mode = _use_wal(connection)
            connection.info[_WAL] = True
            if mode != "wal" and not unusual:
                unusual.append(mode)
                logger.warning(
                    "%s: expected the journal mode wal, found %s: readers and the writer block each other;"
                    " move it to a local file system",
                    url.database,
                    mode,
                )
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _use_wal(connection: Connection) -> str:
    """Change the file to WAL mode; returns the mode that it has then.

    Unlike BEGIN, this fails at once while another connection writes or is changing the mode, too.
    """
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            return str(connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar_one())
        except OperationalError as error:
            if primary_code(error.orig) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(_BUSY_PAUSE_SECONDS)


def database_file(url: URL) -> Path:
    """The file of a URL."""
    return Path(url.database or "")


def can_be_created(url: URL) -> bool:
    """Whether the file does not exist and can be created.

    Raises:
        ConfigurationError: when it does not exist and cannot be created.
    """
    file = database_file(url)
    if os.path.exists(file):
        return False
    if blocking := blocking_path(file.parent):
        code = errno.EACCES if blocking.is_dir() else errno.ENOTDIR
        raise _folder_error(file.parent, os.strerror(code))
    return True


def _folder_error(folder: Path, found: str) -> ConfigurationError:
    return ConfigurationError(
        "database.url", expected=f"a folder {folder} to write to", found=found, hint="choose another"
    )
