"""Statements that get many rows as one JSON array."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    Table,
    TableValuedAlias,
    Text,
    Uuid,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from sparkle_app.model.time import span
from sparkle_app.storage import columns as types
from sparkle_app.storage.statements import SERIES_KEY, Row, column_of, id_of_series

_EPOCH: ColumnElement[Any] = literal_column("timestamp 'epoch'")
_DAY: ColumnElement[Any] = literal_column("interval '1 day'")
_MICROSECOND: ColumnElement[Any] = literal_column("interval '1 microsecond'")
_MICROSECONDS_OF_DAY: ColumnElement[int] = literal_column(str(span(86_400)), BigInteger)


def insert_from_json(table: Table, names: Sequence[str]) -> Any:
    """INSERT of these columns, from the parameter ``rows``."""
    rows = rows_from_json(table, names)
    values: list[ColumnElement[Any]] = []
    for each in rows.c:
        if each.name == SERIES_KEY:
            values.append(id_of_series(table, each))
        elif isinstance(table.c[each.name].type, types.UtcDateTime):
            values.append(_time_of(each))
        else:
            values.append(each)
    return postgresql.insert(table).from_select(list(map(column_of, names)), select(*values))


def rows_from_json(table: Table, names: Sequence[str]) -> TableValuedAlias:
    """The parameter ``rows``, as rows with these columns of a table."""
    columns = [column(name, _json_type(table, name)) for name in names]
    rows = func.json_to_recordset(cast(bindparam("rows", type_=Text()), postgresql.JSON))
    return rows.table_valued(*columns).render_derived(with_types=True)


def _time_of(micros: ColumnElement[Any]) -> ColumnElement[Any]:
    # An interval is multiplied by a double, which would not denote the microseconds of every year.
    days, rest = micros // _MICROSECONDS_OF_DAY, micros % _MICROSECONDS_OF_DAY
    return func.timezone(literal_column("'UTC'"), _EPOCH + days * _DAY + rest * _MICROSECOND)


def _json_type(table: Table, name: str) -> TypeEngine[Any]:
    if name == SERIES_KEY:
        return Uuid()
    type_ = table.c[name].type
    return BigInteger() if isinstance(type_, types.UtcDateTime) else type_


def json_of(table: Table, rows: Sequence[Row]) -> str:
    """The value of the parameter ``rows``."""
    numbers = [name for name in rows[0] if type(table.c[column_of(name)].type) is Double]
    for row in rows:
        for name in numbers:
            # JSON has no infinite numbers; PostgreSQL reads them from strings.
            if not math.isfinite(row[name]):
                row[name] = str(row[name])
    return msgspec.json.encode(rows).decode()
