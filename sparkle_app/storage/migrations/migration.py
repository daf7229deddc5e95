"""Creates and migrates the tables of a database, one process at a time."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from io import StringIO
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.exc import DBAPIError

from sparkle_app.model.errors import ConfigurationError, TransientError
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.earlier_hosts import add_hosts_of_readings
from sparkle_app.storage.errors import is_lock_conflict, server_message
from sparkle_app.storage.hosts import Host
from sparkle_app.storage.migrations.branches import Branch
from sparkle_app.storage.migrations.compaction import COMPACT
from sparkle_app.storage.migrations.comparison import require_columns
from sparkle_app.storage.migrations.roles import EXISTING, WIDE
from sparkle_app.storage.migrations.schema import VERSIONS, Revision, Schema, read_schema
from sparkle_app.storage.migrations.steps import (
    Report,
    compact_returned,
    connection_of,
    context_of,
    record,
    show_changes,
    steps_of,
    support,
)
from sparkle_app.storage.models import Base
from sparkle_app.storage.views import create_view

logger = logging.getLogger(__name__)


def create_tables(engine: Engine, branches: Sequence[Branch]) -> None:
    """Create the tables that do not exist, and record the revisions of the schema.

    Raises:
        OlderSchemaError: if the database has to be migrated first.
        ConfigurationError: if it has a revision that this version does not know, or a table with other columns.
        TransientError: when another process creates or migrates the tables.
        SQLAlchemyError: when the database cannot be reached, or rejects a statement.
    """
    with _locked(engine) as connection:
        schema = read_schema(connection, branches)
        schema.require_current()
        require_columns(connection, schema.existing)
        # First the revisions: where DDL cannot be rolled back, tables without them would be taken for the oldest ones.
        if any(not state.found for state in schema.states):
            record(context_of(connection, schema), schema)
        elif schema.unrecorded:
            _record_known(connection, schema)
        for table in schema.unshown:
            create_view(connection, table)
        Base.metadata.create_all(connection, tables=schema.missing)
        connection.commit()


def migrate(
    engine: Engine,
    branches: Sequence[Branch],
    errors: Sequence[ConfigurationError],
    report: Report,
    readings: Mapping[str, Table] | None = None,
) -> Schema:
    """Apply the pending revisions, then create the tables that do not exist, in one transaction.

    Arguments:
        errors: of plugins that cannot be loaded.
        report: called before each revision.
        readings: tables of readings, by NAME of the plugin, whose hosts are added to the table of hosts if there were
            readings before this table.

    Returns:
        The schema as it was before.

    Raises:
        ConfigurationError: if a revision fails, the database has a revision that this version does not know, or a
            plugin with tables to be migrated cannot be loaded.
        TransientError: when another process has locked the tables, or the connection is lost.
        SQLAlchemyError: when the database cannot be reached, or rejects another statement.
    """
    with _locked(engine) as connection:
        dialect = dialect_of(connection)
        dialect.lift_time_limit(connection)
        schema = read_schema(connection, branches)
        require_plugins(schema, errors)
        current: list[Revision] = []

        def before(revision: Revision) -> None:
            current.append(revision)
            report(revision)

        def after(**_: Any) -> None:
            if not dialect.transactional_ddl:
                connection.commit()

        context = context_of(connection, schema, fn=steps_of(schema, before), on_version_apply=[after])
        record(context, schema)
        try:
            with Operations.context(context):
                compact_returned(context, schema)
                context.run_migrations()
                show_changes(context, schema)
        # A revision is a function that may raise any exception.
        except Exception as error:
            connection.rollback()
            if not current or isinstance(error, ConfigurationError):
                raise
            raise _failed(current[-1], error, dialect.transactional_ddl) from error
        Base.metadata.create_all(connection)
        if _may_lack_hosts(schema):
            add_hosts_of_readings(connection, readings or {})
        connection.commit()
    return schema


def migration_sql(schema: Schema, errors: Sequence[ConfigurationError]) -> str:
    """The statements of :func:`migrate`, for the database's own client.

    Raises:
        ConfigurationError: if a plugin with tables to be migrated cannot be loaded, or a revision needs a connection.
    """
    require_plugins(schema, errors)
    if schema.is_current:
        return "-- nothing to do"
    current: list[Revision] = []
    output = StringIO()
    support(schema.url.get_dialect()())
    context = MigrationContext.configure(
        # Statements with the driver's placeholders would have %% instead of %.
        url=schema.url,
        dialect_opts={"paramstyle": "named"},
        opts={
            "as_sql": True,
            "literal_binds": True,
            "output_buffer": output,
            # Alembic does not assume it for SQLite.
            "transactional_ddl": dialect_of(schema.url).transactional_ddl,
            "starting_rev": [state.target for state in schema.states],
            "version_table": VERSIONS.name,
            "fn": steps_of(schema, current.append),
            EXISTING: schema.existing,
            WIDE: schema.wide,
        },
    )
    try:
        with context.begin_transaction(), Operations.context(context):
            record(context, schema)
            with _created_tables() as created:
                compact_returned(context, schema)
                context.run_migrations()
                show_changes(context, schema)
            missing = [table for table in schema.missing if table.fullname not in created]
            Base.metadata.create_all(connection_of(context), tables=missing, checkfirst=False)
    except Exception as error:
        if not current:
            raise
        raise ConfigurationError(
            f"revision {current[-1].id}{current[-1].branch.label}",
            expected="statements that do not depend on the content of the database",
            found=_one_line(error),
            hint="run the command without --sql",
        ) from error
    if schema.pending and _may_lack_hosts(schema):
        output.write(
            "-- not added to sparkle_hosts: hosts that have sent readings; they are when they send again\n"
        )
    return output.getvalue().rstrip()


def _may_lack_hosts(schema: Schema) -> bool:
    """Whether there may be readings of hosts that are not in the table of hosts."""
    return Host.__table__ in schema.missing or any(each.id == COMPACT for each in schema.pending)


def require_plugins(schema: Schema, errors: Sequence[ConfigurationError]) -> None:
    """Check that no table would be left behind by revisions that change the tables of all plugins.

    Raises:
        ConfigurationError: if a plugin cannot be loaded.
    """
    if errors and any(revision.branch.plugin is None for revision in schema.pending):
        error = errors[0]
        raise ConfigurationError(
            error.where,
            expected=f"{error.expected}, since a migration changes the tables of all plugins",
            found=error.found,
            hint=error.hint,
        )


@contextmanager
def _locked(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that no other process enters. The caller commits."""
    with engine.connect() as connection, ExitStack() as stack:
        try:
            stack.enter_context(dialect_of(connection).schema_lock(connection))
        except DBAPIError as error:
            if is_lock_conflict(error):
                raise TransientError(
                    "another process creates or migrates its tables", "wait until this is done"
                ) from error
            raise
        yield connection


@contextmanager
def _created_tables() -> Iterator[set[str]]:
    """The names of the tables that are created in this context."""
    created: set[str] = set()

    def add(table: Table, *_: Any, **__: Any) -> None:
        created.add(table.fullname)

    event.listen(Table, "after_create", add)
    try:
        yield created
    finally:
        event.remove(Table, "after_create", add)


def _record_known(connection: Connection, schema: Schema) -> None:
    """Record the revisions of tables that exist, which is not necessary: they are recognized."""
    try:
        with connection.begin_nested():
            record(context_of(connection, schema), schema)
    except DBAPIError as error:
        message = server_message(error)
        if error.connection_invalidated or not message:
            raise
        logger.warning("cannot record the schema's revision in %s: %s", VERSIONS.name, message)


def _failed(revision: Revision, error: Exception, transactional: bool) -> Exception:
    if isinstance(error, DBAPIError) and (error.connection_invalidated or is_lock_conflict(error)):
        return TransientError(f"revision {revision.id}: {_one_line(error)}")
    # Those of the handler can be repeated.
    remedy = "restore the backup"
    if not revision.branch.label:
        remedy = f"run the command again when the cause is repaired, or {remedy}"
    return ConfigurationError(
        f"revision {revision.id}{revision.branch.label}",
        expected="every statement to succeed",
        found=_one_line(error),
        hint="nothing was changed: the migration was rolled back as a whole"
        if transactional
        else f"this database cannot roll back, so the revision may be applied in part: {remedy}",
    )


def _one_line(error: Exception) -> str:
    # A driver's own message may contain values of rows.
    return " ".join((server_message(error) or f"{type(error).__name__}: {error}").split())
