"""The parts of a migration that Alembic executes, over a connection or as text."""

from collections.abc import Callable, Iterator
from typing import Any

from alembic.ddl.impl import DefaultImpl
from alembic.runtime.migration import MigrationContext, MigrationStep, RevisionStep
from sqlalchemy import Connection, Dialect, Table

from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.migrations.compaction import COMPACT, compact
from sparkle_app.storage.migrations.roles import EXISTING, WIDE
from sparkle_app.storage.migrations.schema import VERSIONS, Revision, Schema
from sparkle_app.storage.views import VIEW, create_view, drop_view

Report = Callable[[Revision], None]
"""Called before a revision is applied."""


def context_of(connection: Connection, schema: Schema, **options: Any) -> MigrationContext:
    """What Alembic needs to apply revisions over a connection, in its transaction."""
    support(connection.dialect)
    # In a transaction: Alembic then leaves transactions alone.
    options |= {"version_table": VERSIONS.name, EXISTING: schema.existing, WIDE: schema.wide}
    return MigrationContext.configure(connection, opts=options)


def support(dialect: Dialect) -> None:
    """Let Alembic use a database that it does not know, with the statements of standard SQL."""
    try:
        DefaultImpl.get_by_dialect(dialect)
    except KeyError:
        # Registers itself.
        type("PortableImpl", (DefaultImpl,), {"__dialect__": dialect.name, "transactional_ddl": False})


def steps_of(schema: Schema, before: Report) -> Callable[..., Iterator[RevisionStep]]:
    """The pending revisions, as Alembic asks for them.

    Arguments:
        before: called before each of them.
    """

    def steps(_heads: Any, context: MigrationContext) -> Iterator[RevisionStep]:
        for revision in schema.pending:
            before(revision)
            for table in _altered_by(revision, schema):
                drop_view(connection_of(context), table)
            yield MigrationStep.upgrade_from_script(revision.branch.script.revision_map, revision.script)

    return steps


def compact_returned(context: MigrationContext, schema: Schema) -> None:
    """Compact the tables of plugins that were not installed when the others were compacted."""
    compact(context, {view: schema.wide[view] for view in schema.returned}, schema.existing)


def show_changes(context: MigrationContext, schema: Schema) -> None:
    """Let the views show the columns that revisions have added."""
    altered = {table for revision in schema.pending for table in _altered_by(revision, schema)}
    for table in sorted(schema.unshown | altered, key=lambda each: each.fullname):
        create_view(connection_of(context), table)


def record(context: MigrationContext, schema: Schema) -> None:
    """Record the revisions of the schema that are not recorded."""
    if not schema.has_versions:
        VERSIONS.create(connection_of(context), checkfirst=False)
    for state in schema.unrecorded:
        context.execute(VERSIONS.insert().values(version_num=state.target))


def connection_of(context: MigrationContext) -> Connection:
    """The connection over which revisions are applied."""
    assert context.connection is not None
    return context.connection


def _altered_by(revision: Revision, schema: Schema) -> set[Table]:
    """The tables that a revision may alter, and of which some databases refuse to do so while a view shows them."""
    if revision.id == COMPACT:
        return set()
    known = schema.existing.union(map(data_table, schema.wide))
    return {table for table in revision.branch.tables() if VIEW in table.info} & known
