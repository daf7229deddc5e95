"""What the rest of storage asks of a database."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table
from sqlalchemy.engine import URL

READ_ONLY = "sparkle_read_only"
"""Execution option of a transaction that only reads."""
Row = dict[str, Any]
"""The value of each column, the same columns in every row: times as :meth:`Dialect.native_time` gives them, ids as
:meth:`Dialect.native_id` does, others as SQLAlchemy takes them."""
OnConflict = Callable[[Any], Any]
"""Adds its ON CONFLICT to an INSERT."""


class Dialect(ABC):
    """One database: how it is connected to, its statements, and what its errors mean."""

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

    @abstractmethod
    def lock_schema(self, connection: Connection) -> None:
        """Let no other transaction create tables until this one ends."""

    @abstractmethod
    def is_own(self, error: BaseException) -> bool:
        """Whether an error comes from this database's driver."""

    @abstractmethod
    def is_transient(self, error: Any) -> bool:
        """Whether the cause of one of its own errors may go away, and would make it refuse any row."""

    @abstractmethod
    def server_message(self, error: Any) -> str | None:
        """The database's reason for refusing a statement; None where it cannot be reached."""

    def is_lock_conflict(self, error: Any) -> bool:
        """Whether one of its own errors means that another transaction was in the way: try again at once."""
        return False

    @abstractmethod
    def insert(self, table: Table) -> Any:
        """An INSERT that takes ON CONFLICT."""

    @abstractmethod
    def bucket_start(self, at: ColumnElement[Any], bucket_size: int) -> ColumnElement[Any]:
        """The start of the bucket of ``bucket_size`` seconds that holds ``at``."""

    @abstractmethod
    def native_time(self, at: int) -> Any:
        """Microseconds since the epoch in the form that :meth:`insert_rows` takes."""

    def native_id(self, id_: bytes) -> Any:
        """A reading's id in the form that :meth:`insert_rows` takes."""
        return id_.hex()

    @abstractmethod
    def insert_rows(
        self, connection: Connection, table: Table, rows: Sequence[Row], on_conflict: OnConflict
    ) -> None:
        """Insert many plain rows (``bulk.supports``), faster than SQLAlchemy does it one value at a time."""

    @abstractmethod
    def insert_new_rows(
        self, connection: Connection, table: Table, rows: Sequence[Row], on_conflict: OnConflict
    ) -> set[bytes]:
        """Insert the plain rows whose ``id`` the table does not have yet; return the ids of those inserted.

        Arguments:
            rows: no id twice.
        """

    @abstractmethod
    def delete_rows(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Delete the rows that have these values, each in the columns that it names."""
