"""Tries what a worker writes, in a transaction that is rolled back."""

from collections.abc import Iterable

from sqlalchemy import Connection, Table, inspect
from sqlalchemy.exc import DBAPIError

from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.dialects.base import TableKind
from sparkle_app.storage.errors import server_message
from sparkle_app.storage.hosts import Host
from sparkle_app.storage.models import AggregatesTable, Base, ReadingsTable, RetentionRow


def try_writing(connection: Connection) -> list[str]:
    """Insert no rows into the plugins' tables, create those that do not exist, and use some disk space.

    Arguments:
        connection: in a transaction that the caller rolls back.

    Returns:
        The names of the tables that do not exist.

    Raises:
        SQLAlchemyError: when the database rejects a statement.
    """
    dialect = dialect_of(connection)
    known = inspect(connection)
    missing: list[Table] = []
    for table in Base.metadata.sorted_tables:
        if known.has_table(table.name, schema=table.schema):
            dialect.try_insert(connection, table, _kind_of(table))
        else:
            missing.append(table)
    dialect.try_creating(connection, missing)
    dialect.try_disk_space(connection)
    return [table.name for table in missing]


def try_deleting(connection: Connection, tables: Iterable[Table]) -> dict[str, str]:
    """Delete no rows from tables.

    Arguments:
        connection: in a transaction that the caller rolls back.
        tables: those that exist.

    Returns:
        By name, the tables for which the database refuses to delete, and its message.

    Raises:
        SQLAlchemyError: when the database does not answer.
    """
    refused: dict[str, str] = {}
    for table in tables:
        try:
            dialect_of(connection).try_delete(connection, table)
        except DBAPIError as error:
            message = server_message(error)
            if message is None:
                raise
            refused[table.name] = message
    return refused


def _kind_of(table: Table) -> TableKind:
    models = {data_table(mapper.class_.__table__): mapper.class_ for mapper in Base.registry.mappers}
    model = models.get(table, Base)
    if issubclass(model, ReadingsTable):
        return TableKind.READINGS
    if issubclass(model, AggregatesTable):
        return TableKind.AGGREGATES
    return TableKind.UPDATED if model in (Host, RetentionRow) else TableKind.OTHER
