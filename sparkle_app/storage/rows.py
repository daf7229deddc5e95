"""Rows of any table, as they are: of tables that packages declare, of which the handler knows the primary key only."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cache
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Select,
    Table,
    and_,
    bindparam,
    case,
    func,
    inspect,
    literal,
    null,
    or_,
    select,
    tuple_,
)

from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.hosts import Host
from sparkle_app.storage.migrations.schema import VERSIONS
from sparkle_app.storage.models import SERIES, SOURCES, Base
from sparkle_app.storage.statements import chunks
from sparkle_app.storage.views import VIEW

Values = Mapping[str, Any]
"""The value of each column of a row, as in SQLAlchemy."""
# Of a statement: Oracle accepts 1,000 values in a list.
_MAX_KEYS = 500
# Added to the name of a column.
_IS_NULL = "__is_null"


def package_tables() -> list[Table]:
    """The tables that packages declare besides those of readings and aggregates, referenced ones first."""
    models = {mapper.local_table: mapper.class_ for mapper in Base.registry.mappers}
    return [
        table
        for table in Base.metadata.sorted_tables
        if table not in (SERIES, SOURCES)
        and VIEW not in table.info
        and not models.get(table, object).__module__.startswith("sparkle_app.")
    ]


def existing(connection: Connection, tables: Sequence[Table]) -> list[Table]:
    """Those of ``tables`` that the database has. A view does not suffice: it remains in SQLite without its table."""
    known = inspect(connection)
    return [table for table in tables if known.has_table(data_table(table).name, schema=table.schema)]


def unknown_tables(connection: Connection) -> list[str]:
    """The names of the tables in the database that neither the handler nor an installed plugin declares."""
    declared = {table.name for table in Base.metadata.sorted_tables} | {VERSIONS.name}
    return sorted(set(inspect(connection).get_table_names()) - declared)


def select_rows(connection: Connection, table: Table, after: Values | None, limit: int) -> list[Values]:
    """The first rows of a table, by its primary key.

    Arguments:
        after: only rows after this one.
    """
    statement = _whole(table).order_by(*table.primary_key).limit(limit)
    if after is not None:
        statement = statement.where(_later(list(table.primary_key), after))
    return _values(connection, table, statement)


def all_rows(connection: Connection, table: Table) -> list[Values]:
    """The rows of a table, in any order."""
    return _values(connection, table, _whole(table))


def replace_rows(connection: Connection, table: Table, rows: Sequence[Values]) -> int:
    """Replace all rows of a table without primary key, if they differ; returns the number of its rows then."""
    stored = all_rows(connection, table)
    if sorted(map(_comparable, stored)) == sorted(map(_comparable, rows)):
        return 0
    connection.execute(table.delete())
    if rows:
        connection.execute(_exact(table).insert(), [dict(row) for row in rows])
    return len(rows)


def write_rows(
    connection: Connection, table: Table, rows: Sequence[Values], is_newer: Callable[[Values, Values], bool]
) -> int:
    """Insert the rows whose primary key is not in the table, and update those that differ; returns their number.

    Arguments:
        rows: with different primary keys.
        is_newer: whether a row, the first argument, replaces the stored one, the second.
    """
    keys = list(table.primary_key)
    # The database computes the others.
    names = [column.name for column in table.c if column.computed is None]
    stored: dict[tuple[Any, ...], Values] = {}
    for some in chunks(rows, _MAX_KEYS):
        of_some = tuple_(*keys).in_([_key(keys, row) for row in some])
        for found in _values(connection, table, _whole(table).where(of_some)):
            stored[_key(keys, found)] = found
    new, changed = [], []
    for row in rows:
        known = stored.get(_key(keys, row))
        if known is None:
            new.append({name: row[name] for name in names})
        elif any(row[name] != known[name] for name in names) and is_newer(row, known):
            changed.append({f"new_{name}": row[name] for name in names})
    if new:
        connection.execute(_exact(table).insert(), new)
        dialect_of(connection).continue_keys(connection, table)
    if changed:
        same = [column == bindparam(f"new_{column.name}", type_=column.type) for column in keys]
        values = {
            name: bindparam(f"new_{name}", type_=_exact(table).c[name].type)
            for name in names
            if name not in table.primary_key
        }
        connection.execute(table.update().where(*same).values(values), changed)
    return len(new) + len(changed)


def count_rows(connection: Connection, table: Table) -> int:
    """The number of rows of a table."""
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def hosts_table() -> Table:
    """The table of hosts."""
    return Host.__table__


def is_newer_host(row: Values, stored: Values) -> bool:
    """Whether a row of the table of hosts tells more than the stored one."""
    times = row["last_received_at"], stored["last_received_at"]
    return bool(times[0] > times[1] or (times[0] == times[1] and stored["removed_at"] is None))


def _whole(table: Table) -> Select[Any]:
    """All columns, and for each column with JSON whether it is NULL, which SQLAlchemy returns as a JSON null."""
    flags = (
        # Not every database has boolean values.
        case((each.is_(null()), 1), else_=0).label(f"{each.name}{_IS_NULL}")
        for each in _json_columns(table)
    )
    return select(*table.c, *flags)


def _values(connection: Connection, table: Table, statement: Select[Any]) -> list[Values]:
    """The rows that a statement selects; in columns with JSON, NULL is None, and a JSON null is JSON.NULL."""
    rows: list[Values] = []
    for found in connection.execute(statement).mappings():
        row = {each.name: found[each.name] for each in table.c}
        for each in _json_columns(table):
            if row[each.name] is None and not found[f"{each.name}{_IS_NULL}"]:
                row[each.name] = JSON.NULL
        rows.append(row)
    return rows


@cache
def _json_columns(table: Table) -> tuple[Column[Any], ...]:
    return tuple(each for each in table.c if isinstance(each.type, JSON))


@cache
def _exact(table: Table) -> Table:
    """The same table, into whose columns with JSON None is written as NULL."""
    exact = table.to_metadata(MetaData())
    for each in _json_columns(exact):
        type_: Any = copy(each.type)
        type_.none_as_null = True
        each.type = type_
    return exact


def _comparable(row: Values) -> str:
    return repr(sorted((name, repr(value)) for name, value in row.items()))


def _key(keys: Sequence[ColumnElement[Any]], row: Values) -> tuple[Any, ...]:
    return tuple(row[str(key.key)] for key in keys)


def _later(keys: Sequence[ColumnElement[Any]], row: Values) -> ColumnElement[bool]:
    """Whether a primary key is greater. Not every database compares tuples."""
    values = [literal(value, key.type) for key, value in zip(keys, _key(keys, row), strict=True)]
    return or_(
        *(
            and_(*(keys[i] == values[i] for i in range(place)), keys[place] > values[place])
            for place in range(len(keys))
        )
    )
