"""A database as the other modules of storage use it.

A dialect with a file of its own replaces the portable statements by faster ones.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import Any, cast

from sqlalchemy import (
    Connection,
    Engine,
    Select,
    Table,
    create_engine,
    false,
    select,
)
from sqlalchemy import Dialect as SqlDialect
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection

from sparkle_app.model.time import moment
from sparkle_app.storage.dialects import portable
from sparkle_app.storage.dialects.column_types import ColumnTypes
from sparkle_app.storage.dialects.error_classes import ErrorClasses
from sparkle_app.storage.statements import Row, key_names
from sparkle_app.storage.wal import WriteAheadLog

READ_ONLY = "sparkle_read_only"
"""Execution option of a transaction that only reads."""
# From one snapshot, from the weakest; READ COMMITTED for transactions that write.
_SNAPSHOT_LEVELS = ("SNAPSHOT", "REPEATABLE READ", "SERIALIZABLE")
_WRITE_LEVEL = "READ COMMITTED"


class TableKind(Enum):
    """Whose rows a table has."""

    READINGS = "readings"
    AGGREGATES = "aggregates"
    UPDATED = "updated"
    OTHER = "other"


class Dialect(ColumnTypes, ErrorClasses):
    """One database: its connections, its types and statements, and the classification of its errors."""

    max_writers: int = 1
    """How many threads may write at the same time."""
    notice: str | None = "used with portable statements, which are slow, and not tested"
    """What a user should know before relying on this database; None: nothing."""
    infinity: float = math.inf
    """The number that stands for an infinite sum."""
    resolves_series = False
    """Whether bulk statements accept :data:`SERIES_KEY`, which takes less time than to select the ids."""
    transactional_ddl = False
    """Whether CREATE and ALTER are rolled back with their transaction."""

    def create_engine(self, url: URL, *, for_command: bool, pool: Mapping[str, Any]) -> Engine:
        """An engine whose transactions are durable once they are committed; connects to nothing.

        Arguments:
            for_command: for the single thread of a command: its statements have no time limit, and Ctrl-C ends them.
            pool: options of SQLAlchemy's pool of connections.

        Raises:
            ConfigurationError: when the database cannot be used as it is set up.
        """
        options = {"pool_pre_ping": True, "hide_parameters": True, **pool}
        engine = create_engine(url, **options)
        if _WRITE_LEVEL not in _isolation_levels(engine):
            return engine
        return create_engine(url, isolation_level=_WRITE_LEVEL, **options)

    def adapt(self, dialect: SqlDialect) -> None:
        """Let SQLAlchemy create tables as this database needs them."""

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

    def try_delete(self, connection: Connection, table: Table) -> None:
        """Delete no rows, with the privilege that others need.

        Arguments:
            connection: in a transaction that will be rolled back. It remains usable after an error.
        """
        with connection.begin_nested():
            connection.execute(table.delete().where(false()))

    def try_creating(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Create tables in a transaction that will be rolled back, if the database can roll that back."""

    def try_disk_space(self, connection: Connection) -> None:
        """Use some disk space in a transaction that will be rolled back, if the database can return it."""

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
