"""Whether a database can create a table, as far as this can be known without a connection to it."""

from functools import cache

from sqlalchemy import Dialect, Table
from sqlalchemy.engine import URL, make_url
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from sparkle_app.storage.dialects import dialect_of

SCRATCH = make_url("sqlite://")
"""A database as of :func:`scratch_engine`."""


def kind_of(url: URL) -> str:
    """What kind of database it is, for messages."""
    return url.get_backend_name()


def max_name(url: URL) -> int:
    """How many characters the name of a table may have."""
    dialect = _dialect(url)
    # The limit of MySQL for names of tables as well, of which SQLAlchemy takes a larger one for granted.
    return min(dialect.max_identifier_length, dialect.max_index_name_length or dialect.max_identifier_length)


def dangling_key(table: Table) -> str | None:
    """A foreign key of a table that refers to a table that is not declared any more; None if there is none.

    Raises:
        SQLAlchemyError: if one refers to what was never declared.
    """
    for key in table.foreign_keys:
        target = key.column.table
        if table.metadata.tables.get(target.key) is not target:
            return f"{table.name}.{key.parent.name} -> {key.target_fullname}"
    return None


def compile_ddl(table: Table, url: URL) -> None:
    """Compile the statements that create a table.

    Raises:
        Exception: if the database has no such type or constraint, or whatever a type of the table raises.
    """
    statements: list[ExecutableDDLElement] = [CreateTable(table), *map(CreateIndex, table.indexes)]
    for statement in statements:
        statement.compile(dialect=_dialect(url))


@cache
def _dialect(url: URL) -> Dialect:
    dialect = url.get_dialect()()
    dialect_of(url).adapt(dialect)
    return dialect
