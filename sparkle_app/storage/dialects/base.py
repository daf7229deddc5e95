"""A database as the other modules of storage use it.

The statements here are those of standard SQL, for a database with savepoints whose transactions are READ COMMITTED or
exclude each other. A dialect with a file of its own replaces them by faster ones.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    Uuid,
    and_,
    bindparam,
    create_engine,
    exists,
    false,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import TypeEngine

from sparkle_app.model.time import micros, moment, span
from sparkle_app.storage.statements import chunks
from sparkle_app.storage.wal import WriteAheadLog

READ_ONLY = "sparkle_read_only"
"""Execution option of a transaction that only reads."""
Row = dict[str, Any]
"""The value of each column; every row has the same columns. Times and ids are results of :meth:`Dialect.converters`;
other values are as in SQLAlchemy."""
# Of a statement: Oracle accepts 1,000 values in a list, SQLite a depth of 1,000.
_MAX_VALUES = 500
_MAX_CONDITIONS = 50
# More than there are writers at once: if an attempt fails, another transaction has inserted a row.
_ATTEMPTS = 10
# Exceptions of PEP 249 that concern a row; any other concerns all of them alike.
_ROW_ERRORS = {"DataError", "IntegrityError", "NotSupportedError"}
_UNREACHABLE = {"OperationalError", "InterfaceError"}
T = TypeVar("T")


class TableKind(Enum):
    """Whose rows a table has."""

    READINGS = "readings"
    AGGREGATES = "aggregates"
    HOSTS = "hosts"
    OTHER = "other"


class Dialect:
    """One database: its connections, its types and statements, and the classification of its errors."""

    max_writers: int = 1
    """How many threads may write at the same time."""
    read_options: Mapping[str, Any] = {READ_ONLY: True}
    """Execution options of a transaction that only reads, from one snapshot."""
    time_type: TypeEngine[Any] = BigInteger()
    """The type of columns with times."""
    id_type: TypeEngine[Any] = Uuid(native_uuid=False)
    """The type of columns with ids, which are any 16 bytes: some databases only accept UUIDs of known versions."""
    infinity: float = math.inf
    """The number that stands for an infinite sum."""
    transactional_ddl = False
    """Whether CREATE and ALTER are rolled back with their transaction."""

    def create_engine(self, url: URL, *, for_command: bool) -> Engine:
        """An engine whose transactions are durable once they are committed; connects to nothing.

        Arguments:
            for_command: for the single thread of a command: its statements have no time limit, and Ctrl-C ends them.

        Raises:
            ConfigurationError: when the database cannot be used as it is set up.
        """
        return create_engine(url, pool_pre_ping=True, hide_parameters=True)

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

    def lift_time_limit(self, connection: Connection) -> None:
        """Let the statements of this transaction take as long as they need."""

    def try_insert(self, connection: Connection, table: Table, kind: TableKind) -> None:
        """Insert and update no rows, with the privileges and columns that the other statements need.

        Arguments:
            connection: in a transaction that will be rolled back.
        """
        connection.execute(insert_nothing(table.insert(), table))
        if kind is TableKind.HOSTS:
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
        return _names(error).isdisjoint(_ROW_ERRORS)

    def server_message(self, error: Any) -> str | None:
        """The database's error message for a rejected statement; None if the database cannot be reached."""
        return str(error) if _names(error).isdisjoint(_UNREACHABLE) else None

    def remedy(self, error: Any) -> str:
        """How to correct what :meth:`server_message` describes."""
        return "correct this in the database"

    def is_refused_login(self, error: Any) -> bool:
        """Whether the database rejected the user name or the password, so that a retry would not help."""
        return False

    def is_wrong_server(self, error: Any) -> bool:
        """Whether the server of this connection does not accept writes, and a new connection may lead to another."""
        return False

    def is_lock_conflict(self, error: Any) -> bool:
        """Whether an error of this database is a lock conflict with another transaction, to be retried immediately."""
        return False

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

    def bucket_start(self, at: ColumnElement[Any], bucket_size: int) -> ColumnElement[Any]:
        """The start of the bucket of ``bucket_size`` seconds that contains ``at``."""
        time = type_coerce(at, BigInteger)
        return time - time % span(bucket_size)

    def bucket_number(self, at: ColumnElement[Any], bucket_size: int) -> ColumnElement[Any]:
        """What is equal for all times in the same bucket of ``bucket_size`` seconds."""
        return self.bucket_start(at, bucket_size)

    def converters(self, table: Table) -> tuple[Callable[[int], Any], Callable[[bytes], Any]]:
        """Functions that convert times (microseconds since the epoch) and ids to values of a :data:`Row`."""
        return moment, bytes

    def insert_new(self, connection: Connection, table: Table, rows: Sequence[Row]) -> set[bytes]:
        """Insert the rows whose ``id`` is not in the table yet; return the ids of those inserted.

        Arguments:
            rows: rows with different ids, with times and ids as of :meth:`converters`.
        """

        def insert(some: Sequence[Row]) -> set[bytes]:
            given = [row["id"] for row in some]
            known = set(connection.execute(select(table.c.id).where(table.c.id.in_(given))).scalars())
            if new := [row for row in some if row["id"] not in known]:
                connection.execute(table.insert(), new)
            return {row["id"] for row in new}

        return {
            id_ for some in chunks(rows, _MAX_VALUES) for id_ in _retried(connection, partial(insert, some))
        }

    def upsert_growing(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Upsert rows of an aggregates table, by its primary key, except where the stored ``count`` is larger.

        Arguments:
            rows: rows with different keys, with times as of :meth:`converters`.
        """
        keys, others = key_names(table)
        update = (
            table.update()
            .where(*(table.c[name] == bindparam(f"of_{name}") for name in keys))
            .where(table.c["count"] <= bindparam("of_count"))
            .values({name: bindparam(f"new_{name}") for name in others})
        )

        def upsert(some: Sequence[Row]) -> None:
            same = (and_(*(table.c[name] == row[name] for name in keys)) for row in some)
            found = connection.execute(select(*(table.c[name] for name in keys)).where(or_(*same)))
            known = {tuple(row) for row in found}
            new = [row for row in some if tuple(row[name] for name in keys) not in known]
            if new:
                connection.execute(table.insert(), new)
            old = [
                {f"of_{name}": row[name] for name in (*keys, "count")}
                | {f"new_{name}": row[name] for name in others}
                for row in some
                if tuple(row[name] for name in keys) in known
            ]
            if old:
                connection.execute(update, old)

        for some in chunks(rows, _MAX_CONDITIONS):
            _retried(connection, partial(upsert, some))

    def insert_missing(
        self, connection: Connection, table: Table, names: Sequence[str], rows: Select[Any]
    ) -> int:
        """Insert the result of a query, except rows whose primary key is in the table; return the number inserted.

        Arguments:
            names: the columns of the table that are the columns of the query.
        """
        found = rows.subquery()
        columns = dict(zip(names, found.c, strict=True))
        keys, _ = key_names(table)
        stored = exists().where(*(table.c[name] == columns[name] for name in keys))
        insert = table.insert().from_select(list(names), select(*found.c).where(~stored))
        # Otherwise some drivers forget the number.
        options = {"preserve_rowcount": True}
        return _retried(connection, lambda: connection.execute(insert, execution_options=options).rowcount)

    def delete_rows(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Delete the rows whose columns have the values of one of ``rows``."""
        if rows:
            same = [table.c[name] == bindparam(f"of_{name}") for name in rows[0]]
            values = [{f"of_{name}": value for name, value in row.items()} for row in rows]
            connection.execute(table.delete().where(*same), values)


PORTABLE = Dialect()
"""For each database without a dialect of its own."""
DIALECTS: dict[str, Dialect] = {}
"""By SQLAlchemy's name of the database. Filled by the package."""


def dialect_named(name: str) -> Dialect:
    """The dialect of a database, by SQLAlchemy's name of it."""
    return DIALECTS.get(name, PORTABLE)


def key_names(table: Table) -> tuple[list[str], list[str]]:
    """The names of the columns in the primary key, and of the others."""
    keys = [column.name for column in table.primary_key]
    return keys, [column.name for column in table.c if column.name not in keys]


def insert_nothing(insert: Any, table: Table) -> Any:
    """Complete an INSERT, so that it inserts no rows: the database checks privileges and columns all the same."""
    names = [column.name for column in table.c if column.computed is None and column.identity is None]
    # An alias: MariaDB does not know which of two columns with one name an ON DUPLICATE KEY UPDATE means.
    source = table.alias()
    return insert.from_select(names, select(*(source.c[name] for name in names)).where(false()))


def _retried(connection: Connection, statements: Callable[[], T]) -> T:
    """Execute the statements again if another transaction has inserted one of their rows meanwhile."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with connection.begin_nested():
                return statements()
        except IntegrityError:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _names(error: BaseException) -> set[str]:
    return {each.__name__ for each in type(error).__mro__} - {"Exception", "BaseException"}
