"""SQLite: a file on one machine, with one writer at a time."""

import errno
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    Integer,
    LargeBinary,
    Table,
    bindparam,
    cast,
    create_engine,
    event,
    func,
    literal,
    literal_column,
    type_coerce,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.model.time import micros, moment, utc_text
from sparkle_app.runtime.folders import blocking_path
from sparkle_app.storage import columns
from sparkle_app.storage.dialects.base import READ_ONLY, TableKind
from sparkle_app.storage.dialects.on_conflict import OnConflict, OnConflictDialect
from sparkle_app.storage.statements import SERIES_KEY, Row, chunks, id_of_series, name_key
from sparkle_app.storage.wal import WriteAheadLog

_BUSY_SECONDS = 30
_WAL = "sparkle_wal"
"""Key of a connection's info: whether the file is known to be in WAL mode."""
_MAX_WAL_BYTES = 64 * 1024 * 1024
# Of a transaction that only reads, in a worker: as PostgreSQL's statements. The WAL grows until it ends.
_READ_SECONDS = 60
# How many instructions of SQLite between two looks at the clock: some milliseconds.
_PROGRESS_INSTRUCTIONS = 100_000
# Of PRAGMA auto_vacuum.
_INCREMENTAL = 2
# 4 MB: in a fraction of a second.
_VACUUM_PAGES = 1000
_MIN_FREE_PAGES = 250
_SECOND: ColumnElement[int] = literal_column("1000000", BigInteger)
_TRANSIENT_CODES = {
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOTADB,
}  # fmt: skip
# SQLite has no result code for these errors: only the message distinguishes them from an error of a row.
_SCHEMA_MESSAGES = (
    "no such table",
    "no such column",
    "has no column named",
    "ON CONFLICT clause does not match",
)
_REMEDIES = {
    sqlite3.SQLITE_READONLY: "make the file and its folder writable",
    sqlite3.SQLITE_FULL: "free disk space",
    sqlite3.SQLITE_NOTADB: "restore it from a backup, or correct database.url",
    sqlite3.SQLITE_CORRUPT: "restore it from a backup",
}

logger = logging.getLogger(__name__)


class Sqlite(OnConflictDialect):
    """SQLite in WAL mode."""

    notice = None
    # A second writer would poll the lock, so rarely that it might never get it.
    max_writers = 1
    time_type = DateTime()
    compact_time_type = BigInteger()
    compact_id_type = LargeBinary(16)
    resolves_series = True
    transactional_ddl = True

    def create_engine(self, url: URL, *, for_command: bool) -> Engine:
        """As in the base class; also creates the folder of the file."""
        folder = Path(url.database or "").parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
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
                    _limit_time(connection, _READ_SECONDS)
                return
            _limit_time(connection, None)
            # Changes the file, in which the mode is stored. Reading must not: `check` and `verify` only read.
            if not connection.info.get(_WAL):
                # Has no effect unless the file is empty.
                connection.exec_driver_sql("PRAGMA auto_vacuum=INCREMENTAL")
                mode = connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar_one()
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

    def read_options(self, engine: Engine) -> Mapping[str, Any]:
        """Every transaction reads from one snapshot."""
        return {READ_ONLY: True}

    def can_be_created(self, url: URL) -> bool:
        """Whether the file does not exist and can be created."""
        file = Path(url.database or "")
        if os.path.exists(file):
            return False
        if blocking := blocking_path(file.parent):
            code = errno.EACCES if blocking.is_dir() else errno.ENOTDIR
            raise _folder_error(file.parent, os.strerror(code))
        return True

    def write_ahead_log(self, url: URL) -> WriteAheadLog:
        """The WAL of the file."""
        return WriteAheadLog(Path((url.database or "").removeprefix("file:")))

    def return_space(self, connection: Connection) -> bool:
        """An incremental vacuum of some pages. The space of a twentieth of the file is left for new rows."""
        if connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one() != _INCREMENTAL:
            return False
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        free = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
        excess = free - max(pages // 20, _MIN_FREE_PAGES)
        if excess > 0:
            number = min(excess, _VACUUM_PAGES)
            driver: Any = connection.connection.driver_connection
            # It frees a page each time it is stepped, which only executescript() repeats; it commits first.
            driver.executescript(f"PRAGMA incremental_vacuum({number})")
        return bool(excess > _VACUUM_PAGES)

    def space_warning(self, connection: Connection) -> str | None:
        """The mode is part of the file, and changes only with VACUUM."""
        if connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one() == _INCREMENTAL:
            return None
        file = connection.engine.url.database
        return (
            f"{file}: the space of deleted rows is reused, but not returned to the disk; to change this, stop the"
            f" workers and run once: sqlite3 {file} 'PRAGMA auto_vacuum=INCREMENTAL; VACUUM'"
        )

    def lock_row(self, connection: Connection, table: Table, row: Row, *, shared: bool) -> None:
        """Does nothing: a transaction that writes has locked the database."""

    def damage(self, connection: Connection, seconds: float) -> str | None:
        """The result of PRAGMA quick_check, which reads the whole file."""
        _limit_time(connection, seconds)
        try:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        except DBAPIError as error:
            if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                return None
            return str(error.orig)
        finally:
            _limit_time(connection, None)
        return None if found == "ok" else " ".join(str(found).split())

    def try_insert(self, connection: Connection, table: Table, kind: TableKind) -> None:
        """Succeeds if another process writes to the file at this moment."""
        try:
            super().try_insert(connection, table, kind)
        except DBAPIError as error:
            if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                raise

    def try_creating(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Does nothing: there are no privileges, and a journal would change the folder."""

    def try_disk_space(self, connection: Connection) -> None:
        """Does nothing, for the same reason."""

    def is_own(self, error: BaseException) -> bool:
        """Whether the error comes from the module sqlite3."""
        return isinstance(error, sqlite3.Error)

    def is_transient(self, error: Any) -> bool:
        """Decide by SQLite's result code; an error without one comes from the driver and concerns a value."""
        code = getattr(error, "sqlite_errorcode", None)
        return code is not None and (
            code & 0xFF in _TRANSIENT_CODES or any(words in str(error) for words in _SCHEMA_MESSAGES)
        )

    def server_message(self, error: Any) -> str | None:
        """SQLite's message; None if the file cannot be opened."""
        return None if getattr(error, "sqlite_errorname", None) == "SQLITE_CANTOPEN" else str(error)

    def remedy(self, error: Any) -> str:
        """Decide by SQLite's result code."""
        return _REMEDIES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF) or super().remedy(error)

    def is_null_error(self, error: Any, column: str) -> bool:
        """Decide by the extended result code, and the message, which ends with the name of the column."""
        code = getattr(error, "sqlite_errorcode", None)
        return code == sqlite3.SQLITE_CONSTRAINT_NOTNULL and str(error).endswith(f".{column}")

    def time_value(self, at: datetime) -> datetime:
        """Without the time zone, which SQLite does not store."""
        return at.replace(tzinfo=None)

    def time_of(self, value: datetime) -> datetime:
        """With the time zone."""
        return value.replace(tzinfo=UTC)

    def insert(self, table: Table) -> Any:
        """INSERT … ON CONFLICT."""
        return sqlite.insert(table)

    def compact_time_value(self, at: datetime) -> int:
        """Microseconds since the epoch."""
        return micros(at)

    def compact_time_of(self, value: int) -> datetime:
        """From microseconds since the epoch."""
        return moment(value)

    def compact_id_value(self, id_: bytes) -> bytes:
        """The same."""
        return id_

    def compact_id_of(self, value: bytes) -> bytes:
        """The same."""
        return value

    def readable_time(self, at: ColumnElement[Any]) -> ColumnElement[Any]:
        """The text that SQLAlchemy stores for a datetime."""
        at = type_coerce(at, BigInteger)
        return _text(at // _SECOND, func.printf(".%06d", at % _SECOND))

    def readable_id(self, id_: ColumnElement[Any]) -> ColumnElement[Any]:
        """Hexadecimal digits."""
        return func.lower(func.hex(id_))

    def readable_bucket(
        self, number: ColumnElement[Any], bucket_size: ColumnElement[Any]
    ) -> ColumnElement[Any]:
        """The text that SQLAlchemy stores for a datetime."""
        return _text(number * bucket_size, literal(".000000"))

    def compact_time(self, at: ColumnElement[Any]) -> ColumnElement[Any]:
        """From the text, whose fraction SQLite would round."""
        return self.whole_seconds(at) * _SECOND + cast(func.substr(at, 21, 6), Integer)

    def compact_id(self, id_: ColumnElement[Any]) -> ColumnElement[Any]:
        """From hexadecimal digits, by a function in Python: SQLite has none before version 3.41."""
        return func.sparkle_unhex(id_)

    def whole_seconds(self, at: ColumnElement[Any]) -> ColumnElement[int]:
        """From the text, whose fraction SQLite would round."""
        return cast(func.strftime("%s", func.substr(at, 1, 19)), Integer)

    def name_key(self, name: ColumnElement[str]) -> ColumnElement[Any]:
        """By a function in Python: SQLite has none."""
        return func.sparkle_key(name)

    def converters(self, table: Table) -> tuple[Callable[[int], Any], Callable[[bytes], Any]]:
        """For bulk statements: compact times and ids are what they are in Python."""
        if columns.are_plain(table) and columns.are_compact(table):
            return int, bytes
        return super().converters(table)

    def native_time(self, at: int) -> str:
        """The text that SQLAlchemy would store."""
        return utc_text(at)

    def insert_rows(
        self, connection: Connection, table: Table, rows: Sequence[Row], on_conflict: OnConflict
    ) -> None:
        """Passes the rows as tuples: in SQLite, numbers from JSON are not exact to the last bit."""
        values: dict[str, Any] = {name: bindparam(name) for name in rows[0] if name != SERIES_KEY}
        if SERIES_KEY in rows[0]:
            values["series_id"] = id_of_series(table, bindparam(SERIES_KEY, type_=columns.CompactId()))
        statement = on_conflict(sqlite.insert(table).values(values))
        compiled = statement.compile(dialect=connection.dialect)
        names = compiled.positiontup
        connection.exec_driver_sql(str(compiled), list(map(itemgetter(*names), rows)))

    def insert_new_rows(
        self, connection: Connection, table: Table, rows: Sequence[Row], on_conflict: OnConflict
    ) -> set[bytes]:
        """Selects the known ids, then inserts the others: a writing transaction holds the lock from its beginning."""
        ids = [row["id"] for row in rows]
        name = connection.dialect.identifier_preparer.format_table(table)
        known: set[Any] = set()
        for some in chunks(ids):
            query = f"SELECT id FROM {name} WHERE id IN ({', '.join('?' * len(some))})"
            known.update(connection.exec_driver_sql(query, tuple(some)).scalars())
        if new := [row for row, id_ in zip(rows, ids, strict=True) if id_ not in known]:
            self.insert_rows(connection, table, new, on_conflict)
        of = bytes if columns.are_compact(table) else bytes.fromhex
        return {of(id_) for id_ in ids if id_ not in known}


def _limit_time(connection: Connection, seconds: float | None) -> None:
    """Interrupt the statements of a connection after this time, counted from now; None: do not."""
    driver: Any = connection.connection.driver_connection
    if seconds is None:
        driver.set_progress_handler(None, 0)
        return
    deadline = time.monotonic() + seconds
    driver.set_progress_handler(lambda: time.monotonic() > deadline, _PROGRESS_INSTRUCTIONS)


def _text(seconds: ColumnElement[Any], fraction: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.strftime("%Y-%m-%d %H:%M:%S", seconds, "unixepoch").op("||")(fraction)


def _folder_error(folder: Path, found: str) -> ConfigurationError:
    return ConfigurationError(
        "database.url", expected=f"a folder {folder} to write to", found=found, hint="choose another"
    )
