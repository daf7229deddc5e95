"""Statements of MariaDB and MySQL."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Delete, Table, and_, bindparam, case, literal_column, or_, select
from sqlalchemy.exc import IntegrityError

from sparkle_app.storage.dialects.mysql_errors import DUPLICATE_KEY, error_number
from sparkle_app.storage.statements import SERIES_KEY, Row, column_of, id_of_series, key_names

# Of a statement: a row takes some 300 bytes.
_MAX_ROWS = 1000
# A value that is no text, as it is written in a statement.
_VALUE_BYTES = 40
_ATTEMPTS = 10


class Values:
    """An INSERT of many rows, as text: SQLAlchemy would convert, and the driver format, each row by itself."""

    def __init__(self, connection: Connection, insert: Any, rows: Sequence[Row]) -> None:
        self._connection = connection
        given = {column_of(name): name for name in rows[0]}
        names = [column.name for column in insert.table.c if column.name in given]
        compiled = insert.values({name: bindparam(name) for name in names}).compile(
            dialect=connection.dialect
        )
        row = f"({', '.join(f'%({name})s' for name in names)})"
        self._before, _, self._after = str(compiled).partition(row)
        values = ["%s"] * len(names)
        if SERIES_KEY in rows[0]:
            series = id_of_series(insert.table, literal_column("%s"))
            place = names.index("series_id")
            values[place] = str(series.compile(dialect=connection.dialect)).replace("%%s", "%s")
        self._row = f"({', '.join(values)})"
        self._values = itemgetter(*(given[name] for name in names))

    def parts(self, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
        """Parts of the rows that fit into one statement each, whatever characters have to be escaped."""
        # Not driver_connection, which a detached connection, as that of a migration, does not have.
        driver: Any = self._connection.connection.dbapi_connection
        limit = driver.max_packet // 2
        part: list[Row] = []
        size = 0
        for row in rows:
            length = len(self._row) + sum(
                _VALUE_BYTES + (4 * len(value) if isinstance(value, str) else 0) for value in row.values()
            )
            if part and (size + length > limit or len(part) == _MAX_ROWS):
                yield part
                part, size = [], 0
            part.append(row)
            size += length
        yield part

    def insert(self, rows: Sequence[Row]) -> None:
        """Execute it with these rows."""
        statement = self._before + ", ".join([self._row] * len(rows)) + self._after
        self._connection.exec_driver_sql(statement, tuple(chain.from_iterable(map(self._values, rows))))


def insert_new(connection: Connection, table: Table, insert: Values, rows: Sequence[Row]) -> set[bytes]:
    """Insert rows whose id is not in the table; return the ids of those inserted.

    If another transaction has inserted an id, INSERT waits for its end: its ids can then be selected.
    """
    ids = [row["id"] for row in rows]
    new = rows
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            if new:
                insert.insert(new)
            break
        except IntegrityError as error:
            # InnoDB has rolled back this statement only.
            if error_number(error.orig) != DUPLICATE_KEY or attempt == _ATTEMPTS:
                raise
        known = set(connection.execute(select(table.c.id).where(table.c.id.in_(ids))).scalars())
        new = [row for row in rows if row["id"] not in known]
    return {row["id"] for row in new}


@lru_cache(maxsize=100)
def deletion(table: Table, names: Sequence[str], rows: int) -> Delete:
    """A DELETE of this many rows, with parameters such as ``hostname_0``.

    Cached, as it takes longer to compose than to execute.
    """
    same = (
        and_(*(table.c[name] == bindparam(f"{name}_{number}") for name in names)) for number in range(rows)
    )
    return table.delete().where(or_(*same))


def growing(insert: Any, table: Table) -> Any:
    """Add ON DUPLICATE KEY UPDATE, which changes nothing if the stored ``count`` is larger.

    The order of the assignments, in which they are executed, makes no difference: the new count is also compared
    correctly with the larger of the two.
    """
    _, others = key_names(table)
    larger = insert.inserted["count"] >= table.c["count"]
    return insert.on_duplicate_key_update(
        {name: case((larger, insert.inserted[name]), else_=table.c[name]) for name in others}
    )
