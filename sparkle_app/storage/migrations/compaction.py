"""Moves the rows of tables that repeat names in each row into tables with numbers, which views show as before.

A later revision that changes these tables has to declare them here as they are now.
"""

from collections.abc import Collection, Mapping
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import (
    ColumnElement,
    FromClause,
    Inspector,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    and_,
    case,
    cast,
    column,
    exists,
    func,
    insert,
    literal_column,
    select,
    table,
)

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.model.retention import READINGS
from sparkle_app.storage.data_tables import declare_data
from sparkle_app.storage.dialects.base import Dialect, dialect_named
from sparkle_app.storage.models import SERIES, SOURCES, Base
from sparkle_app.storage.views import VIEW, create_view

COMPACT = "0002"
"""The handler's revision that compacts the tables of the plugins that are installed then."""
_SOURCE = ("config_id", "topic", "partition", "clock_trusted")


def wide_tables(inspector: Inspector) -> dict[Table, frozenset[str]]:
    """The models' views that are tables in the database, as they have not been compacted, with their columns."""
    views = [each.info[VIEW] for each in Base.metadata.sorted_tables if VIEW in each.info]
    names = {schema: set(inspector.get_table_names(schema)) for schema in {view.schema for view in views}}
    return {
        view: frozenset(each["name"] for each in inspector.get_columns(view.name, view.schema))
        for view in views
        if view.name in names[view.schema]
    }


def compact(
    context: MigrationContext, wide: Mapping[Table, Collection[str]], existing: Collection[Table]
) -> None:
    """Replace tables by views.

    Arguments:
        wide: as of :func:`wide_tables`.
        existing: the other tables that exist.

    Raises:
        ConfigurationError: if a table has columns that would be lost.
        NotImplementedError: if the statements are not known for the database.
        ValueError: if the database cannot execute them without this program.
    """
    connection = context.connection
    assert connection is not None
    operations = Operations(context)
    dialect = dialect_named(connection.dialect.name)
    if wide and context.as_sql and not dialect.hashes_names:
        raise ValueError("keys that only this program computes")
    metadata = MetaData()
    for names in (SERIES, SOURCES):
        names.to_metadata(metadata)
        if wide and names not in existing:
            names.create(connection, checkfirst=False)
    for view, columns in wide.items():
        if unknown := set(columns).difference(view.c.keys()):
            raise ConfigurationError(
                f"table {view.name}",
                expected="the columns that its plugin declares",
                found=f"also {', '.join(sorted(unknown))}",
                hint="drop them, or install the version of the plugin that declares them",
            )
        data = declare_data(view, metadata, columns)
        # Where DDL cannot be rolled back, an earlier attempt may have begun: the rows are still where they were.
        if any(each.name == data.name and each.schema == data.schema for each in existing):
            operations.drop_table(data.name, schema=data.schema)
        # The view would have the name of the table that is still there.
        del data.info[VIEW]
        data.create(connection, checkfirst=False)
        old = table(
            view.name,
            *(column(each.name, each.type) for each in view.c if each.name in columns),
            schema=view.schema,
        )
        for statement in _statements(data, old, dialect):
            operations.execute(statement)
        operations.drop_table(view.name, schema=view.schema)
        data.info[VIEW] = view
        create_view(connection, data)


def _statements(data: Table, wide: FromClause, dialect: Dialect) -> list[Any]:
    if "observed_at" not in data.c:
        return [_new_series(wide, wide.c.resolution, dialect), _aggregates(data, wide, dialect)]
    readings = literal_column(str(READINGS), Integer)
    return [_new_series(wide, readings, dialect), _new_sources(wide, dialect), _readings(data, wide, dialect)]


def _new_series(wide: FromClause, resolution: ColumnElement[Any], dialect: Dialect) -> Any:
    names = (
        select(wide.c.hostname, wide.c.metric, resolution.label("resolution")).distinct().subquery("names").c
    )
    text = (
        _digits(func.char_length(names.hostname))
        + literal_column("':'", String)
        + names.hostname
        + names.metric
        + literal_column("':'", String)
        + _digits(names.resolution)
    )
    return _missing(SERIES, dialect.name_key(text), names.hostname, names.metric, names.resolution)


def _new_sources(wide: FromClause, dialect: Dialect) -> Any:
    names = select(*(wide.c[name] for name in _SOURCE)).distinct().subquery("names").c
    colon = literal_column("':'", String)
    trusted = case((names.clock_trusted, literal_column("'1'", String)), else_=literal_column("'0'", String))
    text = names.topic + colon + _digits(names.partition) + colon + _digits(names.config_id) + colon + trusted
    return _missing(SOURCES, dialect.name_key(text), *names)


def _missing(names: Table, key: ColumnElement[Any], *columns: ColumnElement[Any]) -> Any:
    known = exists().where(names.c.key == key)
    rows: Select[Any] = select(key, *columns).where(~known)
    return insert(names).from_select([each.name for each in names.c if each.name != "id"], rows)


def _readings(data: Table, wide: FromClause, dialect: Dialect) -> Any:
    known = {
        "id": dialect.compact_id(wide.c.id),
        "observed_at": dialect.compact_time(wide.c.observed_at),
        "received_at": dialect.compact_time(wide.c.received_at),
        "series_id": SERIES.c.id,
        "source_id": SOURCES.c.id,
    }
    source = and_(*(SOURCES.c[name] == wide.c[name] for name in _SOURCE))
    series = _same_names(wide) & (SERIES.c.resolution == literal_column(str(READINGS)))
    return _copied(data, wide, known, wide.join(SERIES, series).join(SOURCES, source))


def _aggregates(data: Table, wide: FromClause, dialect: Dialect) -> Any:
    known = {
        "series_id": SERIES.c.id,
        "bucket": dialect.whole_seconds(wide.c.bucket_start) // wide.c.resolution,
        "last_at": dialect.compact_time(wide.c.last_at),
    }
    series = _same_names(wide) & (SERIES.c.resolution == wide.c.resolution)
    return _copied(data, wide, known, wide.join(SERIES, series))


def _copied(data: Table, wide: FromClause, known: dict[str, Any], rows: FromClause) -> Any:
    names = [each.name for each in data.c if each.computed is None]
    columns = [known[name] if name in known else wide.c[name] for name in names]
    return insert(data).from_select(names, select(*columns).select_from(rows))


def _same_names(wide: FromClause) -> ColumnElement[bool]:
    return (SERIES.c.hostname == wide.c.hostname) & (SERIES.c.metric == wide.c.metric)


def _digits(number: ColumnElement[Any]) -> ColumnElement[str]:
    return cast(number, String(20))
