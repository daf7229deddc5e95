"""For revisions: the tables of all plugins by their role, whatever their names.

for table in readings_tables():
    op.add_column(table.name, Column("unit", String(20)), schema=table.schema)
"""

from alembic import op
from sqlalchemy import TableClause, table

from sparkle_app.storage.migrations.branches import tables_by_role
from sparkle_app.storage.models import AggregatesTable, Base, ReadingsTable

WIDE = "sparkle_wide"
"""Option of Alembic's context: the tables that are views in the models, with their columns."""
EXISTING = "sparkle_existing"
"""Option of Alembic's context: the tables that existed before the migration."""


def readings_tables() -> list[TableClause]:
    """The tables with the rows of stored readings that exist in the database.

    Without columns, since those of the models are not those of the revision.
    """
    return _existing(ReadingsTable)


def aggregates_tables() -> list[TableClause]:
    """The tables of aggregates, in the same way."""
    return _existing(AggregatesTable)


def _existing(role: type[Base]) -> list[TableClause]:
    existing = op.get_context().opts[EXISTING]
    found = [each for each in tables_by_role(role) if each in existing]
    return [table(each.name, schema=each.schema) for each in sorted(found, key=lambda each: each.fullname)]
