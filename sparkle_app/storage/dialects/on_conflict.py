"""Databases with INSERT … ON CONFLICT … RETURNING."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, Table

from sparkle_app.model.time import moment
from sparkle_app.storage import columns
from sparkle_app.storage.dialects.base import Dialect, TableKind, insert_nothing
from sparkle_app.storage.statements import Row, key_names

OnConflict = Callable[[Any], Any]
"""Adds the ON CONFLICT clause to an INSERT."""


class OnConflictDialect(Dialect, ABC):
    """Bulk statements for tables whose columns :func:`columns.are_plain`, and those of SQLAlchemy for others.

    The stored values are the same either way. SQLAlchemy takes more than twice as long, as it converts each value.
    """

    @abstractmethod
    def insert(self, table: Table) -> Any:
        """An INSERT that supports ON CONFLICT."""

    @abstractmethod
    def native_time(self, at: int) -> Any:
        """Convert microseconds since the epoch to the value that :meth:`insert_rows` requires."""

    @abstractmethod
    def insert_rows(
        self, connection: Connection, table: Table, rows: Sequence[Row], on_conflict: OnConflict
    ) -> None:
        """Insert many rows of a table with plain columns."""

    @abstractmethod
    def insert_new_rows(
        self, connection: Connection, table: Table, rows: Sequence[Row], on_conflict: OnConflict
    ) -> set[bytes]:
        """As :meth:`insert_new`, of a table with plain columns."""

    def converters(self, table: Table) -> tuple[Callable[[int], Any], Callable[[bytes], Any]]:
        """For bulk statements: ids are hexadecimal digits."""
        return (self.native_time, bytes.hex) if columns.are_plain(table) else (moment, bytes)

    def insert_new(self, connection: Connection, table: Table, rows: Sequence[Row]) -> set[bytes]:
        """Uses ON CONFLICT DO NOTHING."""
        on_conflict = _ignoring_known(table)
        if columns.are_plain(table):
            return self.insert_new_rows(connection, table, rows, on_conflict)
        statement = on_conflict(self.insert(table)).returning(table.c.id)
        return set(connection.execute(statement, rows).scalars())

    def upsert_growing(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Uses ON CONFLICT DO UPDATE … WHERE."""
        on_conflict = _if_larger(table)
        if columns.are_plain(table):
            self.insert_rows(connection, table, rows, on_conflict)
        else:
            connection.execute(on_conflict(self.insert(table)), rows)

    def insert_missing(
        self, connection: Connection, table: Table, names: Sequence[str], rows: Select[Any]
    ) -> int:
        """Uses ON CONFLICT DO NOTHING."""
        insert = self.insert(table).from_select(list(names), rows).on_conflict_do_nothing()
        # Otherwise psycopg forgets the number.
        return connection.execute(insert, execution_options={"preserve_rowcount": True}).rowcount

    def try_insert(self, connection: Connection, table: Table, kind: TableKind) -> None:
        """With the same ON CONFLICT, so that the database checks the unique constraint, too."""
        if kind in (TableKind.UPDATED, TableKind.OTHER):
            super().try_insert(connection, table, kind)
            return
        statement = insert_nothing(self.insert(table), table)
        if kind is TableKind.READINGS:
            statement = _ignoring_known(table)(statement).returning(table.c.id)
        else:
            statement = _if_larger(table)(statement)
        connection.execute(statement)


# The same function each time: it is part of the key of a dialect's cache.
@lru_cache(maxsize=128)
def _ignoring_known(table: Table) -> OnConflict:
    return lambda insert: insert.on_conflict_do_nothing(index_elements=[table.c.id])


@lru_cache(maxsize=128)
def _if_larger(table: Table) -> OnConflict:
    def add(insert: Any) -> Any:
        keys, others = key_names(table)
        new = {name: insert.excluded[name] for name in others}
        larger = insert.excluded["count"] >= table.c["count"]
        return insert.on_conflict_do_update(index_elements=keys, set_=new, where=larger)

    return add
