"""The interface of a database, as used by the other modules of storage."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table
from sqlalchemy.engine import URL

READ_ONLY = "sparkle_read_only"
"""Execution option of a transaction that only reads."""
Row = dict[str, Any]
"""The value of each column; every row has the same columns. Times are results of :meth:`Dialect.native_time`, ids of
:meth:`Dialect.native_id`; other values are as in SQLAlchemy."""
OnConflict = Callable[[Any], Any]
"""Adds the ON CONFLICT clause to an INSERT."""


class Dialect(ABC):
    """One database: its connections, its statements, and the classification of its errors."""

    max_writers: int
    """How many threads may write at the same time."""
    read_options: Mapping[str, Any] = {READ_ONLY: True}
    """Execution options of a transaction that only reads, from one snapshot."""

    @abstractmethod
    def create_engine(self, url: URL, *, for_command: bool) -> Engine:
        """An engine whose transactions are durable once they are committed; connects to nothing.

        Arguments:
            for_command: for the single thread of a command: its statements have no time limit, and Ctrl-C ends them.

        Raises:
            ConfigurationError: when the database cannot be used as it is set up.
        """

    def can_be_created(self, url: URL) -> bool:
        """Whether there is no database yet and a worker can create it; changes nothing.

        Raises:
            ConfigurationError: when a worker could not create it.
        """
        return False

    def damage(self, connection: Connection, seconds: float) -> str | None:
        """What is wrong with the database's files; None if nothing was found within ``seconds``."""
        return None

    @abstractmethod
    def lock_schema(self, connection: Connection) -> None:
        """Prevent other transactions from creating tables until this one ends."""

    def try_insert(self, connection: Connection, insert: Any) -> None:
        """Execute an INSERT of no rows in a transaction that will be rolled back."""
        connection.execute(insert)

    @abstractmethod
    def try_creating(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Create tables in a transaction that will be rolled back."""

    @abstractmethod
    def try_disk_space(self, connection: Connection) -> None:
        """Use some disk space in a transaction that will be rolled back."""

    @abstractmethod
    def is_own(self, error: BaseException) -> bool:
        """Whether an error comes from this database's driver."""

    @abstractmethod
    def is_transient(self, error: Any) -> bool:
        """Whether an error of this database is transient and affects every row alike."""

    @abstractmethod
    def server_message(self, error: Any) -> str | None:
        """The database's error message for a rejected statement; None if the database cannot be reached."""

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

    @abstractmethod
    def insert(self, table: Table) -> Any:
        """An INSERT that supports ON CONFLICT."""

    @abstractmethod
    def bucket_start(self, at: ColumnElement[Any], bucket_size: int) -> ColumnElement[Any]:
        """The start of the bucket of ``bucket_size`` seconds that contains ``at``."""

    def bucket_number(self, at: ColumnElement[Any], bucket_size: int) -> ColumnElement[Any]:
        """What is equal for all times in the same bucket of ``bucket_size`` seconds."""
        return self.bucket_start(at, bucket_size)

    @abstractmethod
    def native_time(self, at: int) -> Any:
        """Convert microseconds since the epoch to the value that :meth:`insert_rows` requires."""

    def native_id(self, id_: bytes) -> Any:
        """Convert a reading's id to the value that :meth:`insert_rows` requires."""
        return id_.hex()

    @abstractmethod
    def insert_rows(
        self, connection: Connection, table: Table, rows: Sequence[Row], on_conflict: OnConflict
    ) -> None:
        """Insert many rows of a table that ``bulk.supports``, faster than SQLAlchemy."""

    @abstractmethod
    def insert_new_rows(
        self, connection: Connection, table: Table, rows: Sequence[Row], on_conflict: OnConflict
    ) -> set[bytes]:
        """Insert the rows whose ``id`` is not in the table yet; return the ids of those inserted.

        Arguments:
            rows: rows with different ids.
        """

    @abstractmethod
    def delete_rows(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Delete the rows whose columns have the values of one of ``rows``."""
