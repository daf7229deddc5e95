"""Statements of standard SQL, for a database with savepoints whose transactions see what others have committed."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, Select, Table, and_, bindparam, exists, or_, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from sparkle_app.storage.dialects.sqlstates import is_constraint_violation
from sparkle_app.storage.statements import Row, chunks, key_names

# Of a statement: Oracle accepts 1,000 values in a list, SQLite a depth of 1,000.
_MAX_VALUES = 500
_MAX_CONDITIONS = 50
# More than there are writers at once: if an attempt fails, another transaction has inserted a row.
_ATTEMPTS = 10
T = TypeVar("T")


def insert_new(connection: Connection, table: Table, rows: Sequence[Row]) -> set[bytes]:
    """Selects the ids that are known, then inserts the other rows."""

    def insert(some: Sequence[Row]) -> set[bytes]:
        given = [row["id"] for row in some]
        known = set(connection.execute(select(table.c.id).where(table.c.id.in_(given))).scalars())
        if new := [row for row in some if row["id"] not in known]:
            connection.execute(table.insert(), new)
        return {row["id"] for row in new}

    return {id_ for some in chunks(rows, _MAX_VALUES) for id_ in retried(connection, partial(insert, some))}


def upsert_growing(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Selects the keys that are known, inserts the other rows, then updates those whose count is not larger."""
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
        retried(connection, partial(upsert, some))


def insert_missing(
    connection: Connection, table: Table, names: Sequence[str], rows: Select[tuple[object, ...]]
) -> int:
    """Uses INSERT … SELECT … WHERE NOT EXISTS."""
    found = rows.subquery()
    columns = dict(zip(names, found.c, strict=True))
    keys, _ = key_names(table)
    stored = exists().where(*(table.c[name] == columns[name] for name in keys))
    insert = table.insert().from_select(list(names), select(*found.c).where(~stored))
    # Otherwise some drivers forget the number.
    options = {"preserve_rowcount": True}
    return retried(connection, lambda: connection.execute(insert, execution_options=options).rowcount)


def delete_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Deletes one row after another."""
    if rows:
        same = [table.c[name] == bindparam(f"of_{name}") for name in rows[0]]
        values = [{f"of_{name}": value for name, value in row.items()} for row in rows]
        connection.execute(table.delete().where(*same), values)


def retried(connection: Connection, statements: Callable[[], T]) -> T:
    """Execute the statements again if another transaction has inserted one of their rows meanwhile."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with connection.begin_nested():
                return statements()
        except DBAPIError as error:
            duplicate = isinstance(error, IntegrityError) or is_constraint_violation(error.orig)
            if attempt == _ATTEMPTS or not duplicate:
                raise
    raise AssertionError("unreachable")
