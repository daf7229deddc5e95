"""Common parts of statements: rows, keys, and limits of the number of values and of rows on a page."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, ScalarSelect, Table, select

# SQLite accepts 32,766 parameters in a statement.
_MAX_VALUES = 10_000
MAX_IN_LIST = 1_000
"""Of a list after IN, in Oracle."""
Row = dict[str, Any]
"""The value of each column; every row has the same columns. Times and ids are results of :meth:`Dialect.converters`;
other values are as in SQLAlchemy."""
T = TypeVar("T")


def chunks(values: Sequence[T], size: int = _MAX_VALUES) -> Iterator[Sequence[T]]:
    """Split ``values`` into parts of at most ``size``, which fit into one statement each."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def key_names(table: Table) -> tuple[list[str], list[str]]:
    """The names of the columns in the primary key, and of the others."""
    keys = [column.name for column in table.primary_key]
    return keys, [column.name for column in table.c if column.name not in keys]


SERIES_KEY = "series_key"
"""In a row that is inserted, instead of ``series_id``: the database looks the id up."""


def column_of(name: str) -> str:
    """The column for which a row has a value of this name."""
    return "series_id" if name == SERIES_KEY else name


def id_of_series(table: Table, key: ColumnElement[Any]) -> ScalarSelect[Any]:
    """The id of the series with this key; NULL if there is none."""
    series = table.metadata.tables["sparkle_series"]
    return select(series.c.id).where(series.c.key == key).scalar_subquery()


def name_key(name: str) -> bytes:
    """First 16 bytes of the SHA-256 hash of a name: names are longer than some databases can index."""
    return hashlib.sha256(name.encode()).digest()[:16]


def groups_of_hosts(hosts: Mapping[str, int], max_rows: int, max_hosts: int) -> Iterator[list[str]]:
    """Split hosts, with their numbers of rows, into groups that fit on a page, in the order of their names.

    A host with more rows than fit is a group of its own.
    """
    group: list[str] = []
    rows = 0
    for hostname, count in sorted(hosts.items()):
        if group and (rows + count > max_rows or len(group) == max_hosts):
            yield group
            group, rows = [], 0
        group.append(hostname)
        rows += count
    if group:
        yield group
