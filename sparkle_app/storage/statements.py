"""The statements that all plugins' tables share, for each supported dialect."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite

_INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
# SQLite takes 32,766 parameters in a statement.
IN_LIMIT = 10_000

Row = dict[str, Any]


def insert_new(connection: Connection, table: Table, rows: Sequence[Row]) -> set[str]:
    """Insert the rows whose ``id`` the table does not have yet; return the ids of those inserted now."""
    statement = _INSERT[connection.dialect.name](table).on_conflict_do_nothing(index_elements=[table.c.id])
    return set(connection.execute(statement.returning(table.c.id), list(rows)).scalars())


def select_ids(connection: Connection, table: Table, ids: Sequence[str]) -> list[Row]:
    """The rows with these ids."""
    found: list[Row] = []
    for start in range(0, len(ids), IN_LIMIT):
        statement = select(table).where(table.c.id.in_(ids[start : start + IN_LIMIT]))
        found += map(dict, connection.execute(statement).mappings())
    return found


def upsert_growing(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert or replace aggregates, whole; a row that counts fewer readings than the stored one changes nothing.

    A bucket only ever gains readings, so the larger count is the newer value: a worker that was suspended and writes
    late does no harm.
    """
    insert = _INSERT[connection.dialect.name](table)
    keys = [column.name for column in table.primary_key]
    new = {column.name: insert.excluded[column.name] for column in table.c if column.name not in keys}
    statement = insert.on_conflict_do_update(
        index_elements=keys, set_=new, where=insert.excluded["count"] >= table.c["count"]
    )
    connection.execute(statement, list(rows))
