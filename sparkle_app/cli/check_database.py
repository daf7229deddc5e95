"""What ``check`` says of the database: whether a worker could use it as it is."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Table, text
from sqlalchemy.exc import SQLAlchemyError

from sparkle_app.config.settings import Settings, database_url
from sparkle_app.config.url_parameters import shown
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.discovery import InstalledPlugins
from sparkle_app.retention.retainer import tables_to_delete_from
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.engine import can_be_created, damage, make_engine, notice, read_transaction
from sparkle_app.storage.errors import server_message, transient_error
from sparkle_app.storage.migrations.comparison import require_columns
from sparkle_app.storage.migrations.migration import require_plugins
from sparkle_app.storage.migrations.schema import Schema, read_schema
from sparkle_app.storage.trial import try_deleting, try_writing

_TIMEOUT_SECONDS = 10


def check_database(settings: Settings, plugins: InstalledPlugins) -> str:
    """Connect, and try what a worker writes and deletes in a transaction that is rolled back.

    Returns:
        The URL, and what the first worker will create or migrate.

    Raises:
        ConfigurationError: if a worker could not use the database.
    """
    url = database_url(settings)
    if can_be_created(url):
        return f"{shown(url)} does not exist yet; the first worker will create it"
    try:
        with read_transaction(make_engine(url)) as connection:
            connection.execute(text("SELECT 1"))
            damaged = damage(connection, _TIMEOUT_SECONDS)
            schema = None if damaged else read_schema(connection, plugins.branches)
            # The tables of an earlier schema have other columns.
            older = bool(schema and (schema.pending or schema.wide))
            missing: list[str] = []
            refused: Mapping[str, str] = {}
            if schema and not older:
                require_columns(connection, schema.existing)
                missing = try_writing(connection)
                refused = try_deleting(connection, _expiring_tables(settings, plugins, missing))
    except (SQLAlchemyError, OSError) as error:
        cause = transient_error(error)
        what = "to accept what a worker writes" if cause.hint else "to accept connections"
        raise ConfigurationError(
            "database.url",
            expected=f"{shown(url)} {what}",
            found=server_message(error) or str(cause),
            hint=cause.hint or "start it, or correct the setting",
        ) from error
    if damaged:
        raise ConfigurationError(
            "database.url",
            expected=f"an undamaged database at {shown(url)}",
            found=damaged,
            hint="restore it from a backup",
        )
    if schema and older:
        return f"{shown(url)}; the first worker will migrate it: {_to_apply(settings, plugins, schema)}"
    _refuse_lost_table(plugins, missing)
    if refused:
        tables = ", ".join(refused)
        raise ConfigurationError(
            "database.url",
            expected=f"{shown(url)} to let retention delete rows",
            found="; ".join(dict.fromkeys(refused.values())),
            hint=f"grant DELETE on {tables} to the user, or set the durations in the section retention to forever",
        )
    to_create = f"; the first worker will create {', '.join(sorted(missing))}" if missing else ""
    warning = notice(url)
    return f"{shown(url)}{to_create}" + (f"; warning: {warning}" if warning else "")


def _expiring_tables(settings: Settings, plugins: InstalledPlugins, missing: Collection[str]) -> list[Table]:
    """Those that exist."""
    tables = tables_to_delete_from(settings, plugins.by_name)
    return [each for each in tables if each.name not in missing]


def _to_apply(settings: Settings, plugins: InstalledPlugins, schema: Schema) -> str:
    if not settings.database.migrate:
        schema.require_current()
    require_plugins(schema, plugins.errors)
    tables = sorted("".join(table.name) for table in schema.wide)
    return ", ".join(revision.id for revision in schema.pending) or f"tables {', '.join(tables)}"


def _refuse_lost_table(plugins: InstalledPlugins, missing: Sequence[str]) -> None:
    for name, installed in plugins.installed.items():
        models = (getattr(installed.plugin, each, None) for each in ("DataFrame", "Aggregates"))
        tables = [data_table(model.__table__).name for model in models if model]
        lost = [table for table in tables if table in missing]
        # A worker creates both at the same time.
        if 0 < len(lost) < len(tables):
            raise ConfigurationError(
                "database.url",
                expected=f"the tables {' and '.join(tables)} of the plugin {name}",
                found=f"no table {lost[0]}",
                hint="restore it from a backup, or start a worker, which creates it empty",
            )
