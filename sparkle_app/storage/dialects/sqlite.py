"""SQLite: a file on one machine, with one writer at a time."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
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
    func,
    literal,
    literal_column,
    type_coerce,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from sparkle_app.model.time import micros, moment, utc_text
from sparkle_app.storage import columns
from sparkle_app.storage.dialects import sqlite_errors, sqlite_file
from sparkle_app.storage.dialects.base import READ_ONLY, TableKind
from sparkle_app.storage.dialects.column_types import NaiveTimes
from sparkle_app.storage.dialects.on_conflict import OnConflict, OnConflictDialect
from sparkle_app.storage.dialects.sqlite_engine import can_be_created, database_file, make_sqlite_engine
from sparkle_app.storage.statements import SERIES_KEY, Row, id_of_series
from sparkle_app.storage.wal import WriteAheadLog

_SECOND: ColumnElement[int] = literal_column("1000000", BigInteger)


class Sqlite(NaiveTimes, OnConflictDialect):
    """SQLite in WAL mode."""

    notice = None
    # A second writer would poll the lock, so rarely that it might never get it.
    max_writers = 1
    time_type = DateTime()
    compact_time_type = BigInteger()
    compact_id_type = LargeBinary(16)
    resolves_series = True
    transactional_ddl = True

    def create_engine(self, url: URL, *, for_command: bool, pool: Mapping[str, Any]) -> Engine:
        """As in the base class; also creates the folder of the file."""
        # SQLAlchemy's own pool suffices for one writer. A larger one would keep more connections, each with its cache.
        return make_sqlite_engine(url, for_command=for_command)

    def read_options(self, engine: Engine) -> Mapping[str, Any]:
        """Every transaction reads from one snapshot."""
        return {READ_ONLY: True}

    def can_be_created(self, url: URL) -> bool:
        """Whether the file does not exist and can be created."""
        return can_be_created(url)

    def write_ahead_log(self, url: URL) -> WriteAheadLog:
        """The WAL of the file."""
        return WriteAheadLog(database_file(url))

    def return_space(self, connection: Connection) -> bool:
        """An incremental vacuum of some pages."""
        return sqlite_file.return_space(connection)

    def space_warning(self, connection: Connection) -> str | None:
        """If the mode of the file does not permit an incremental vacuum."""
        return sqlite_file.space_warning(connection)

    def lock_row(self, connection: Connection, table: Table, row: Row, *, shared: bool) -> None:
        """Does nothing: a transaction that writes has locked the database."""

    def damage(self, connection: Connection, seconds: float) -> str | None:
        """The result of PRAGMA quick_check."""
        return sqlite_file.damage(connection, seconds)

    def try_insert(self, connection: Connection, table: Table, kind: TableKind) -> None:
        """Succeeds if another process writes to the file at this moment."""
        try:
            super().try_insert(connection, table, kind)
        except DBAPIError as error:
            if sqlite_errors.primary_code(error.orig) != sqlite3.SQLITE_BUSY:
                raise

    def try_delete(self, connection: Connection, table: Table) -> None:
        """Does nothing: there are no privileges."""

    def try_creating(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Does nothing: there are no privileges, and a journal would change the folder."""

    def try_disk_space(self, connection: Connection) -> None:
        """Does nothing, for the same reason."""

    def is_own(self, error: BaseException) -> bool:
        """Whether the error comes from the module sqlite3."""
        return isinstance(error, sqlite3.Error)

    def is_transient(self, error: Any) -> bool:
        """Decide by SQLite's result code."""
        return sqlite_errors.is_transient(error)

    def server_message(self, error: Any) -> str | None:
        """SQLite's message; None if the file cannot be opened."""
        return None if getattr(error, "sqlite_errorname", None) == "SQLITE_CANTOPEN" else str(error)

    def remedy(self, error: Any) -> str:
        """Decide by SQLite's result code."""
        return sqlite_errors.REMEDIES.get(sqlite_errors.primary_code(error)) or super().remedy(error)

    def is_null_error(self, error: Any, column: str) -> bool:
        """Decide by the extended result code, and the message, which ends with the name of the column."""
        code = getattr(error, "sqlite_errorcode", None)
        return code == sqlite3.SQLITE_CONSTRAINT_NOTNULL and str(error).endswith(f".{column}")

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
        text, values = _insert(table, tuple(rows[0]), on_conflict)
        connection.exec_driver_sql(text, list(map(values, rows)))

    def insert_new_rows(
        self, connection: Connection, table: Table, rows: Sequence[Row], on_conflict: OnConflict
    ) -> set[bytes]:
        """Inserted rows are those after the last one: a writing transaction holds the lock from its beginning."""
        name = connection.dialect.identifier_preparer.format_table(table)
        last = connection.exec_driver_sql(f"SELECT coalesce(max(_rowid_), 0) FROM {name}").scalar()
        self.insert_rows(connection, table, rows, on_conflict)
        new = connection.exec_driver_sql(f"SELECT id FROM {name} WHERE _rowid_ > ?", (last,)).scalars()
        of = bytes if columns.are_compact(table) else bytes.fromhex
        return {of(id_) for id_ in new}


@lru_cache(maxsize=128)
def _insert(
    table: Table, names: tuple[str, ...], on_conflict: OnConflict
) -> tuple[str, Callable[[Row], Any]]:
    """The statement that inserts a row with these names, and what takes its parameters out of the row."""
    values: dict[str, Any] = {name: bindparam(name) for name in names if name != SERIES_KEY}
    if SERIES_KEY in names:
        values["series_id"] = id_of_series(table, bindparam(SERIES_KEY, type_=columns.CompactId()))
    # Inline, without RETURNING: executemany() of Python 3.12 and later fails at the second row of such a statement.
    insert = sqlite.insert(table).values(values).inline()
    compiled = on_conflict(insert).compile(dialect=sqlite.dialect())
    return str(compiled), itemgetter(*compiled.positiontup)


def _text(seconds: ColumnElement[Any], fraction: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.strftime("%Y-%m-%d %H:%M:%S", seconds, "unixepoch").op("||")(fraction)
