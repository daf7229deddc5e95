"""Compares the columns that plugins have declared with those of existing tables."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Table, inspect

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.storage.models import own_columns
from sparkle_app.storage.views import VIEW

_HANDLER_PREFIX = "sparkle_"


def require_columns(connection: Connection, tables: Iterable[Table]) -> None:
    """Check that rows can be inserted into the tables of plugins as the models declare them.

    Of the handler's columns, only a damaged database lacks one.

    Arguments:
        tables: those that exist, if no revision is pending.

    Raises:
        ConfigurationError: if a column is missing, or every row would lack the value of one.
        SQLAlchemyError: when the database cannot be reached.
    """
    of_plugins = [table for table in tables if not table.name.startswith(_HANDLER_PREFIX)]
    for table, columns in _columns(connection, of_plugins):
        view = table.info.get(VIEW)
        own = table.c.keys() if view is None else own_columns(view)
        missing = [each.name for each in table.c if each.name.lower() not in columns]
        if not set(missing) <= set(own):
            # The database is damaged: it says so when rows are inserted.
            continue
        declared = {each.name.lower() for each in table.c}
        # Into others, only the plugin itself inserts rows.
        others = [] if view is None else [each for name, each in columns.items() if name not in declared]
        required = [each["name"] for each in others if _is_required(each)]
        if missing or required:
            raise ConfigurationError(
                f"table {table.name}",
                expected="the columns that its model declares",
                found=f"no {' and no '.join(missing)}"
                if missing
                else f"also {' and '.join(required)}, which must not be NULL and has no default",
                hint="alter the table, or ship a revision of the plugin: docs/plugins.md#changing-the-tables",
            )


def _columns(connection: Connection, tables: Iterable[Table]) -> Iterator[tuple[Table, Mapping[str, Any]]]:
    """The columns of each table in the database by name, in lower case, since some databases do not tell it apart."""
    by_schema: dict[str | None, list[Table]] = {}
    for table in tables:
        by_schema.setdefault(table.schema, []).append(table)
    for schema, some in by_schema.items():
        names = [table.name for table in some]
        # On most databases, one query.
        found = inspect(connection).get_multi_columns(schema=schema, filter_names=names)
        for table in some:
            # A model may also describe a view, which has none.
            if columns := found.get((schema, table.name)):
                yield table, {each["name"].lower(): each for each in columns}


def _is_required(column: Mapping[str, Any]) -> bool:
    generated = (column.get(name) for name in ("default", "computed", "identity"))
    is_numbered = column.get("autoincrement") is True
    return not column["nullable"] and not is_numbered and all(each is None for each in generated)
