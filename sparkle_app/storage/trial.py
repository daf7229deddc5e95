"""Tries what a worker writes, in a transaction that is rolled back."""

from typing import Any

from sqlalchemy import Connection, Table, false, inspect, select

from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.models import AggregatesTable, Base, ReadingsTable


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
            dialect.try_insert(connection, _insert_nothing(dialect.insert(table), table))
        else:
            missing.append(table)
    dialect.try_creating(connection, missing)
    dialect.try_disk_space(connection)
    return [table.name for table in missing]


def _insert_nothing(insert: Any, table: Table) -> Any:
    # The database checks privileges, columns and the unique constraint of ON CONFLICT all the same.
    columns = [column for column in table.c if column.computed is None and column.identity is None]
    statement = insert.from_select(columns, select(*columns).where(false()))
    models = {mapper.local_table: mapper.class_ for mapper in Base.registry.mappers}
    model = models.get(table, Base)
    if issubclass(model, ReadingsTable):
        return statement.on_conflict_do_nothing(index_elements=[table.c.id]).returning(table.c.id)
    if not issubclass(model, AggregatesTable):
        return statement
    keys = [column.name for column in table.primary_key]
    new = {column.name: insert.excluded[column.name] for column in columns if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=new)
