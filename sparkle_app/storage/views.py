"""Views with the names and times that the tables of readings and aggregates store as numbers.

A view has the name that the model declares, and its columns; the table is ``<name>_data``.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, MetaData, Select, Table, event, inspect, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import DDLElement
from sqlalchemy.sql.compiler import DDLCompiler

from sparkle_app.storage.dialects.base import Dialect, dialect_named

VIEW = "sparkle_view"
"""Key of a table's info: the model's table, which is a view in the database."""


class CreateView(DDLElement):
    """CREATE VIEW."""

    inherit_cache = False

    def __init__(self, view: Table, query: Select[Any]) -> None:
        self.view, self.query = view, query


class DropView(DDLElement):
    """DROP VIEW, if it exists."""

    inherit_cache = False

    def __init__(self, view: Table) -> None:
        self.view = view


@compiles(CreateView)
def _create(element: CreateView, compiler: DDLCompiler, **_: Any) -> str:
    query = compiler.sql_compiler.process(element.query, literal_binds=True)
    return f"CREATE VIEW {compiler.preparer.format_table(element.view)} AS {query}"


@compiles(DropView)
def _drop(element: DropView, compiler: DDLCompiler, **_: Any) -> str:
    return f"DROP VIEW IF EXISTS {compiler.preparer.format_table(element.view)}"


def create_view(connection: Connection, data: Table) -> None:
    """Create the view of a table, which does not exist."""
    view: Table = data.info[VIEW]
    dialect = dialect_named(connection.dialect.name)
    query = _readings(data, dialect) if "observed_at" in data.c else _aggregates(data, dialect)
    connection.execute(CreateView(view, query))


def drop_view(connection: Connection, data: Table) -> None:
    """Drop the view of a table, so that the table can be altered."""
    connection.execute(DropView(data.info[VIEW]))


@event.listens_for(Table, "after_create")
def _after_create(table: Table, connection: Any, **_: Any) -> None:
    if (view := table.info.get(VIEW)) is not None:
        # SQLite keeps it if only the table is dropped. What writes a script has no connection.
        if isinstance(connection, Connection) and inspect(connection).has_table(view.name, view.schema):
            drop_view(connection, table)
        create_view(connection, table)


@event.listens_for(Table, "before_drop")
def _before_drop(table: Table, connection: Connection, **_: Any) -> None:
    if VIEW in table.info:
        connection.execute(DropView(table.info[VIEW]))


def _readings(data: Table, dialect: Dialect) -> Select[Any]:
    series, sources = _table(data.metadata, "sparkle_series"), _table(data.metadata, "sparkle_sources")
    columns: list[ColumnElement[Any]] = [
        dialect.readable_id(data.c.id).label("id"),
        sources.c.config_id,
        series.c.hostname,
        series.c.metric,
        data.c.value,
        dialect.readable_time(data.c.observed_at).label("observed_at"),
        dialect.readable_time(data.c.received_at).label("received_at"),
        sources.c.clock_trusted,
        sources.c.topic,
        sources.c.partition,
        data.c.offset,
    ]
    joined = data.join(series, series.c.id == data.c.series_id).join(
        sources, sources.c.id == data.c.source_id
    )
    return select(*columns, *_others(data, columns)).select_from(joined)


def _aggregates(data: Table, dialect: Dialect) -> Select[Any]:
    series = _table(data.metadata, "sparkle_series")
    columns: list[ColumnElement[Any]] = [
        series.c.hostname,
        series.c.metric,
        series.c.resolution,
        dialect.readable_bucket(data.c.bucket, series.c.resolution).label("bucket_start"),
        *(data.c[name] for name in ("count", "sum", "minimum", "maximum", "last")),
        dialect.readable_time(data.c.last_at).label("last_at"),
    ]
    joined = data.join(series, series.c.id == data.c.series_id)
    # The number is in the index, which a condition on bucket_start cannot use.
    columns.append(data.c.bucket)
    return select(*columns, *_others(data, columns)).select_from(joined)


def _others(data: Table, columns: list[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    """The columns that a plugin has added."""
    known = {"series_id", "source_id", *(getattr(each, "name", None) for each in columns)}
    return [each for each in data.c if each.name not in known]


def _table(metadata: MetaData, name: str) -> Table:
    return metadata.tables[name]
