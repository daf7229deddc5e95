"""A database as the other modules of storage use it.

A dialect with a file of its own replaces the portable statements by faster ones.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from enum import Enum
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    Uuid,
    create_engine,
    false,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.types import TypeEngine

from sparkle_app.model.time import micros, moment, span
from sparkle_app.storage.dialects import portable
from sparkle_app.storage.dialects.sqlstates import is_row_state, sqlstate
from sparkle_app.storage.statements import Row, key_names
from sparkle_app.storage.wal import WriteAheadLog

READ_ONLY = "sparkle_read_only"
"""Execution option of a transaction that only reads."""
# Exceptions of PEP 249 that concern a row; any other concerns all of them alike.
_ROW_ERRORS = {"DataError", "IntegrityError", "NotSupportedError"}
_UNREACHABLE = {"OperationalError", "InterfaceError"}
# From one snapshot, from the weakest; READ COMMITTED for transactions that write.
_SNAPSHOT_LEVELS = ("SNAPSHOT", "REPEATABLE READ", "SERIALIZABLE")
_WRITE_LEVEL = "READ COMMITTED"


class TableKind(Enum):
    """Whose rows a table has."""

    READINGS = "readings"
    AGGREGATES = "aggregates"
    UPDATED = "updated"
    OTHER = "other"


class Dialect:
    """One database: its connections, its types and statements, and the classification of its errors."""

    max_writers: int = 1
    """How many threads may write at the same time."""
    notice: str | None = "used with portable statements, which are slow, and not tested"
    """What a user should know before relying on this database; None: nothing."""
    time_type: TypeEngine[Any] = BigInteger()
    """The type of columns with times."""
    id_type: TypeEngine[Any] = Uuid(native_uuid=False)
    """The type of columns with ids, which are any 16 bytes: some databases only accept UUIDs of known versions."""
    infinity: float = math.inf
    """The number that stands for an infinite sum."""
    resolves_series = False
    """Whether bulk statements accept :data:`SERIES_KEY`, which takes less time than to select the ids."""
    hashes_names = False
    """Whether :meth:`name_key` is a function of the database itself."""
    transactional_ddl = False
    """Whether CREATE and ALTER are rolled back with their transaction."""

    def create_engine(self, url: URL, *, for_command: bool) -> Engine:
        """An engine whose transactions are durable once they are committed; connects to nothing.

        Arguments:
            for_command: for the single thread of a command: its statements have no time limit, and Ctrl-C ends them.

        Raises:
            ConfigurationError: when the database cannot be used as it is set up.
        """
        options = {"pool_pre_ping": True, "hide_parameters": True}
        engine = create_engine(url, **options)
        if _WRITE_LEVEL not in _isolation_levels(engine):
            return engine
        return create_engine(url, isolation_level=_WRITE_LEVEL, **options)

    def read_options(self, engine: Engine) -> Mapping[str, Any]:
        """Execution options of a transaction that only reads, from one snapshot if the database has any."""
        levels = _isolation_levels(engine)
        level = next((each for each in _SNAPSHOT_LEVELS if each in levels), None)
        return {READ_ONLY: True, "isolation_level": level} if level else {READ_ONLY: True}

    def can_be_created(self, url: URL) -> bool:
        """Whether there is no database yet and a worker can create it; changes nothing.

        Raises:
            ConfigurationError: when a worker could not create it.
        """
        return False

    def write_ahead_log(self, url: URL) -> WriteAheadLog | None:
        """The log of a database that is a file on this machine; None if the database has a server."""
        return None

    def damage(self, connection: Connection, seconds: float) -> str | None:
        """What is wrong with the database's files; None if nothing was found within ``seconds``."""
        return None

    def schema_lock(self, connection: Connection) -> AbstractContextManager[None]:
        """Prevent others from creating tables meanwhile, if the database can."""
        return nullcontext()

    def return_space(self, connection: Connection) -> bool:
        """Return a part of the space of deleted rows to the disk, if the database does not do so, or reuse it, itself.

        Returns:
            Whether there is more.
        """
        return False

    def space_warning(self, connection: Connection) -> str | None:
        """Why the space of deleted rows is only reused, and never returned to the disk; None: it is, or need not be."""
        return None

    def lock_row(self, connection: Connection, table: Table, row: Row, *, shared: bool) -> None:
        """Lock a row until the transaction ends. It need not be read or written itself.

        Arguments:
            row: its primary key.
            shared: do not exclude other shared locks, if the database can tell them apart. A lock that is not shared
                does not wait for ever for a sequence of shared ones.
        """
        same = [table.c[name] == value for name, value in row.items()]
        _, (name, *_) = key_names(table)
        connection.execute(table.update().where(*same).values({name: table.c[name]}))

    def lift_time_limit(self, connection: Connection) -> None:
        """Let the statements of this transaction take as long as they need."""

    def try_insert(self, connection: Connection, table: Table, kind: TableKind) -> None:
        """Insert and update no rows, with the privileges and columns that the other statements need.

        Arguments:
            connection: in a transaction that will be rolled back.
        """
        connection.execute(insert_nothing(table.insert(), table))
        if kind is TableKind.UPDATED:
            connection.execute(
                table.update().where(false()).values({column.name: column for column in table.c})
            )

    def try_creating(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Create tables in a transaction that will be rolled back, if the database can roll that back."""

    def try_disk_space(self, connection: Connection) -> None:
        """Use some disk space in a transaction that will be rolled back, if the database can return it."""

    def is_own(self, error: BaseException) -> bool:
        """Whether an error comes from this database's driver."""
        return not _names(error).isdisjoint({"DatabaseError", "InterfaceError"})

    def is_transient(self, error: Any) -> bool:
        """Whether an error of this database is transient and affects every row alike."""
        state = sqlstate(error)
        return not is_row_state(state) if state else _names(error).isdisjoint(_ROW_ERRORS)

    def server_message(self, error: Any) -> str | None:
        """The database's error message for a rejected statement; None if the database cannot be reached."""
        state = sqlstate(error)
        unreachable = state.startswith("08") if state else not _names(error).isdisjoint(_UNREACHABLE)
        return None if unreachable else str(error)

    def remedy(self, error: Any) -> str:
        """How to correct what :meth:`server_message` describes."""
        return "correct this in the database"

    def is_refused_login(self, error: Any) -> bool:
        """Whether the database rejected the user name or the password, so that a retry would not help."""
        return (sqlstate(error) or "").startswith("28")

    def is_wrong_server(self, error: Any) -> bool:
        """Whether the server of this connection does not accept writes, and a new connection may lead to another."""
        return False

    def is_null_error(self, error: Any, column: str) -> bool:
        """Whether a row had no value for this column, which requires one."""
        return False

    def is_lock_conflict(self, error: Any) -> bool:
        """Whether an error of this database is a lock conflict with another transaction, to be retried immediately."""
        return (sqlstate(error) or "").startswith("40")

    def time_value(self, at: datetime) -> Any:
        """Convert an aware datetime to a value of ``time_type``."""
        return micros(at)

    def time_of(self, value: Any) -> datetime:
        """Convert a value of ``time_type`` to an aware datetime."""
        return moment(value)

    def id_value(self, id_: bytes) -> Any:
        """Convert an id to a value of ``id_type``."""
        return UUID(bytes=id_)

    def id_of(self, value: Any) -> bytes:
        """Convert a value of ``id_type`` to an id."""
        return bytes(value.bytes)

    @property
    def compact_time_type(self) -> TypeEngine[Any]:
        """The type with the fewest bytes of columns with times."""
        return self.time_type

    @property
    def compact_id_type(self) -> TypeEngine[Any]:
        """The type with the fewest bytes of columns with ids."""
        return self.id_type

    def compact_time_value(self, at: datetime) -> Any:
        """Convert an aware datetime to a value of ``compact_time_type``."""
        return self.time_value(at)

    def compact_time_of(self, value: Any) -> datetime:
        """Convert a value of ``compact_time_type`` to an aware datetime."""
        return self.time_of(value)

    def compact_id_value(self, id_: bytes) -> Any:
        """Convert an id to a value of ``compact_id_type``."""
        return self.id_value(id_)

    def compact_id_of(self, value: Any) -> bytes:
        """Convert a value of ``compact_id_type`` to an id."""
        return self.id_of(value)

    def readable_time(self, at: ColumnElement[Any]) -> ColumnElement[Any]:
        """A column of ``compact_time_type`` as a view shows it: as ``time_type``."""
        return at

    def readable_id(self, id_: ColumnElement[Any]) -> ColumnElement[Any]:
        """A column of ``compact_id_type`` as a view shows it: as ``id_type``."""
        return id_

    def readable_bucket(
        self, number: ColumnElement[Any], bucket_size: ColumnElement[Any]
    ) -> ColumnElement[Any]:
        """The start of a bucket as a view shows it, from its :meth:`bucket_number`."""
        return number * bucket_size * span(1)

    def compact_time(self, at: ColumnElement[Any]) -> ColumnElement[Any]:
        """A column of ``time_type`` as ``compact_time_type``."""
        return at

    def compact_id(self, id_: ColumnElement[Any]) -> ColumnElement[Any]:
        """A column of ``id_type`` as ``compact_id_type``."""
        return id_

    def whole_seconds(self, at: ColumnElement[Any]) -> ColumnElement[int]:
        """Seconds since the epoch of a column of ``time_type``, without the fraction."""
        return type_coerce(at, BigInteger) // literal_column(str(span(1)), BigInteger)

    def name_key(self, name: ColumnElement[str]) -> ColumnElement[Any]:
        """First 16 bytes of the SHA-256 hash of a text in UTF-8, as ``compact_id_type``.

        Raises:
            NotImplementedError: if this is not known for the database.
        """
        raise NotImplementedError("this database has no SHA-256 that is known here")

    def bucket_number(self, at: ColumnElement[Any], bucket_size: int) -> ColumnElement[int]:
        """The number of the bucket of ``bucket_size`` seconds that contains a compact time; number 0 begins in 1970."""
        return type_coerce(at, BigInteger) // literal_column(str(span(bucket_size)), BigInteger)

    def converters(self, table: Table) -> tuple[Callable[[int], Any], Callable[[bytes], Any]]:
        """Functions that convert times (microseconds since the epoch) and ids to values of a :data:`Row`."""
        return moment, bytes

    def insert_new(self, connection: Connection, table: Table, rows: Sequence[Row]) -> set[bytes]:
        """Insert the rows whose ``id`` is not in the table yet; return the ids of those inserted.

        Arguments:
            rows: rows with different ids, with times and ids as of :meth:`converters`.
        """
        return portable.insert_new(connection, table, rows)

    def upsert_growing(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Upsert rows of an aggregates table, by its primary key, except where the stored ``count`` is larger.

        Arguments:
            rows: rows with different keys, with times as of :meth:`converters`.
        """
        portable.upsert_growing(connection, table, rows)

    def insert_missing(
        self, connection: Connection, table: Table, names: Sequence[str], rows: Select[Any]
    ) -> int:
        """Insert the result of a query, except rows whose primary key is in the table; return the number inserted.

        Arguments:
            names: the columns of the table that are the columns of the query.
        """
        return portable.insert_missing(connection, table, names, rows)

    def delete_rows(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Delete the rows whose columns have the values of one of ``rows``."""
        portable.delete_rows(connection, table, rows)

    def continue_keys(self, connection: Connection, table: Table) -> None:
        """Let the numbers that the database generates for a primary key continue after those that were inserted."""


PORTABLE = Dialect()
"""For each database without a dialect of its own."""
DIALECTS: dict[str, Dialect] = {}
"""By SQLAlchemy's name of the database. Filled by the package."""


def dialect_named(name: str) -> Dialect:
    """The dialect of a database, by SQLAlchemy's name of it."""
    return DIALECTS.get(name, PORTABLE)


def insert_nothing(insert: Any, table: Table) -> Any:
    """Complete an INSERT, so that it inserts no rows: the database checks privileges and columns all the same."""
    names = [column.name for column in table.c if column.computed is None and column.identity is None]
    # An alias: MariaDB does not know which of two columns with one name an ON DUPLICATE KEY UPDATE means.
    source = table.alias()
    return insert.from_select(names, select(*(source.c[name] for name in names)).where(false()))


def _isolation_levels(engine: Engine) -> set[str]:
    try:
        # Of a driver, not of a connection, in all dialects of SQLAlchemy.
        return set(engine.dialect.get_isolation_level_values(cast(DBAPIConnection, None)))
    except NotImplementedError:
        return set()


def _names(error: BaseException) -> set[str]:
    return {each.__name__ for each in type(error).__mro__} - {"Exception", "BaseException"}
