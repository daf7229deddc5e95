"""Many plain rows in one statement, at less than half of what SQLAlchemy takes for them one value at a time.

PostgreSQL is given the rows as one JSON array. SQLite, whose numbers from JSON are not exact to the last bit, is given
tuples in its own forms. What is stored is the same either way.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Double,
    Integer,
    Select,
    String,
    Table,
    TableValuedAlias,
    Text,
    bindparam,
    cast,
    column,
    func,
    select,
)  # fmt: skip
from sqlalchemy.dialects.postgresql import JSON

from sparkle_app.model.time import moment, utc_text
from sparkle_app.storage.models import ReadingId, UtcDateTime
from sparkle_app.storage.statements import INSERT, chunks

Row = dict[str, Any]
"""The value of each column, the same columns in every row: times as :func:`time` gives them, ids as :func:`native_id`
does, others as SQLAlchemy takes them."""
OnConflict = Callable[[Any], Any]
"""Adds its ON CONFLICT to an INSERT."""
_PLAIN = {BigInteger, Boolean, Double, Integer, ReadingId, String, UtcDateTime}


@cache
def supports(dialect: str, table: Table) -> bool:
    """Whether the form of every column's values in this database is known here, and no default is made in Python."""
    return dialect in INSERT and all(type(each.type) in _PLAIN and each.default is None for each in table.c)


def time(dialect: str, table: Table) -> Callable[[int], Any]:
    """Gives microseconds since the epoch as a value for a column of this table."""
    if not supports(dialect, table):
        return moment
    return utc_text if dialect == "sqlite" else _with_offset


def native_id(dialect: str, table: Table) -> Callable[[bytes], Any]:
    """Gives a reading's id as a value for a column of this table."""
    return bytes.hex if supports(dialect, table) else bytes


def _with_offset(at: int) -> str:
    return f"{utc_text(at)}+00"


def insert_new(
    connection: Connection, table: Table, rows: Sequence[Row], on_conflict: OnConflict
) -> set[bytes]:
    """Insert the rows whose ``id`` the table does not have yet; return the ids of those inserted now.

    Arguments:
        rows: no id twice.
    """
    if connection.dialect.name == "sqlite":
        ids = [row["id"] for row in rows]
        name = connection.dialect.identifier_preparer.format_table(table)
        query = f"SELECT id FROM {name} WHERE id IN (SELECT value FROM json_each(?))"
        # A transaction that writes is alone from its beginning: nobody inserts between these two.
        found = connection.exec_driver_sql(query, (msgspec.json.encode(ids).decode(),))
        known = set(found.scalars())
        if new := [row for row, id_ in zip(rows, ids, strict=True) if id_ not in known]:
            insert(connection, table, new, on_conflict)
        return {bytes.fromhex(id_) for id_ in ids if id_ not in known}
    inserted: set[bytes] = set()
    for some in chunks(rows):
        statement = on_conflict(_insert_from_json(table, list(some[0]))).returning(table.c.id)
        inserted.update(connection.execute(statement, {"rows": _json(table, some)}).scalars())
    return inserted


def insert(connection: Connection, table: Table, rows: Sequence[Row], on_conflict: OnConflict) -> None:
    """Insert rows."""
    if connection.dialect.name == "sqlite":
        statement = on_conflict(INSERT["sqlite"](table).values({name: bindparam(name) for name in rows[0]}))
        compiled = statement.compile(dialect=connection.dialect)
        names = compiled.positiontup
        connection.exec_driver_sql(str(compiled), list(map(itemgetter(*names), rows)))
        return
    for some in chunks(rows):
        connection.execute(on_conflict(_insert_from_json(table, list(some[0]))), {"rows": _json(table, some)})


def delete(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Delete the rows that have these values, each in the columns that are named."""
    if connection.dialect.name == "postgresql":
        for some in chunks(rows):
            given = _rows_from_json(table, list(some[0]))
            same = [table.c[name] == given.c[name] for name in some[0]]
            connection.execute(table.delete().where(*same), {"rows": _json(table, some)})
    elif rows:
        same = [table.c[name] == bindparam(f"of_{name}") for name in rows[0]]
        values = [{f"of_{name}": value for name, value in row.items()} for row in rows]
        connection.execute(table.delete().where(*same), values)


def _insert_from_json(table: Table, names: Sequence[str]) -> Any:
    source: Select[Any] = select(*_rows_from_json(table, names).c)
    return INSERT["postgresql"](table).from_select(names, source)


def _rows_from_json(table: Table, names: Sequence[str]) -> TableValuedAlias:
    columns = [column(name, table.c[name].type) for name in names]
    rows = func.json_to_recordset(cast(bindparam("rows", type_=Text()), JSON)).table_valued(*columns)
    return rows.render_derived(with_types=True)


def _json(table: Table, rows: Sequence[Row]) -> str:
    numbers = [name for name in rows[0] if type(table.c[name].type) is Double]
    for row in rows:
        for name in numbers:
            # JSON has no infinities; PostgreSQL reads them from strings.
            if not math.isfinite(row[name]):
                row[name] = str(row[name])
    return msgspec.json.encode(rows).decode()
