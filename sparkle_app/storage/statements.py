"""The statements that all plugins' tables share, for each supported dialect."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    Table,
    case,
    cast,
    func,
    literal,
    select,
    type_coerce,
)
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


def select_aggregated(
    dialect: str, table: Table, resolution: int, *conditions: ColumnElement[bool]
) -> Select[Any]:
    """Those raw rows of a :class:`ReadingsTable` that meet the conditions, aggregated by the database.

    Columns: hostname, metric, bucket_start, count, sum, minimum, maximum, last, last_at. The same as to count them one
    by one (buckets.py), and many times as fast.
    """
    row, at = table.c, table.c.observed_at
    if dialect == "postgresql":
        start: Any = func.date_bin(
            func.make_interval(0, 0, 0, 0, 0, 0, resolution),
            at,
            literal(datetime.fromtimestamp(0, UTC), at.type),
        )
    else:
        # In the form in which SQLAlchemy keeps times there; without the fraction, which SQLite rounds.
        seconds = cast(func.strftime("%s", func.substr(at, 1, 19)), Integer)
        whole = seconds - seconds % resolution
        start = func.strftime("%Y-%m-%d %H:%M:%S.000000", whole, "unixepoch")
    start = type_coerce(start, at.type)
    newest = func.row_number().over(
        partition_by=(row.hostname, row.metric, start), order_by=(at.desc(), row.value.desc())
    )
    rows = (
        select(row.hostname, row.metric, row.value, at, start.label("bucket_start"), newest.label("newest"))
        .where(*conditions)
        .subquery()
    )
    keys = (rows.c.hostname, rows.c.metric, rows.c.bucket_start)
    return select(
        *keys,
        func.count().label("count"),
        func.sum(rows.c.value).label("sum"),
        func.min(rows.c.value).label("minimum"),
        func.max(rows.c.value).label("maximum"),
        func.max(case((rows.c.newest == 1, rows.c.value))).label("last"),
        func.max(rows.c.observed_at).label("last_at"),
    ).group_by(*keys)


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
