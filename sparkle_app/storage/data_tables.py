"""The tables with the rows of the views that models describe: with a number in place of each name."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, Table
from sqlalchemy.types import SchemaType

from sparkle_app.storage import constraints
from sparkle_app.storage.columns import CompactId, CompactTime
from sparkle_app.storage.views import VIEW

SERIES_NAME = "sparkle_series"
SOURCES_NAME = "sparkle_sources"
_DATA = "sparkle_data"
"""Key of a view's info: the table with its rows."""
_LEFT_OUT = "sparkle_left_out"
"""Key of a view's info: descriptions of the indexes and constraints that the table with its rows does not have."""
# Columns in this order need no padding in PostgreSQL.
_READINGS_COLUMNS: tuple[Column[Any], ...] = (
    Column("id", CompactId, primary_key=True),
    Column("observed_at", CompactTime, nullable=False),
    Column("received_at", CompactTime, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("series_id", Integer, nullable=False),
    Column("source_id", Integer, nullable=False),
)
_AGGREGATES_COLUMNS: tuple[Column[Any], ...] = (
    Column("series_id", Integer, primary_key=True, autoincrement=False),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
    *(Column(name, Double, nullable=False) for name in ("sum", "minimum", "maximum", "last")),
    Column("last_at", CompactTime, nullable=False),
)
# The columns of views that are shown instead of stored numbers, or stored with the same name.
_SHOWN_READINGS = {"config_id", "hostname", "metric", "value", "clock_trusted", "topic", "partition"}
_SHOWN_AGGREGATES = {"hostname", "metric", "resolution", "bucket_start"}


def data_table(view: Table) -> Table:
    """The table with the rows of a model's view; a table that is not a view itself."""
    data: Table = view.info.get(_DATA, view)
    return data


def left_out(view: Table) -> list[str]:
    """Descriptions of a plugin's indexes and constraints that do not exist: they name columns of the view only."""
    found: list[str] = view.info.get(_LEFT_OUT, [])
    return found


def key_to_view(table: Table) -> str | None:
    """A foreign key of a table that refers to a view instead of the table with its rows; None if there is none."""
    for key in table.foreign_keys:
        target = key.target_fullname.rpartition(".")[0]
        stored = table.metadata.tables.get(f"{target}_data")
        if stored is not None and VIEW in stored.info:
            return f"{key.parent.name} -> {key.target_fullname}"
    return None


def declare_data(view: Table, metadata: MetaData, columns: Collection[str]) -> Table:
    """The table with the rows of a view.

    Arguments:
        metadata: has the tables of names.
        columns: of the view. Of those that a plugin has added, the table has only these.
    """
    readings = "observed_at" in view.c
    # Enumerations exist already if the rows come from a table that has them.
    create_types = metadata is view.metadata
    stored = [_copy(each) for each in (_READINGS_COLUMNS if readings else _AGGREGATES_COLUMNS)]
    known = {each.name for each in stored} | (_SHOWN_READINGS if readings else _SHOWN_AGGREGATES)
    if taken := {"series_id", "source_id", "bucket"}.intersection(view.c.keys()):
        raise ValueError(f"expected other names of columns in {view.name} than {', '.join(sorted(taken))}")
    if readings:
        stored.append(_copy(view.c.value, create_types))
    own = [_copy(each, create_types) for each in view.c if each.name in columns and each.name not in known]
    # Named by SQLAlchemy, which shortens names that are too long for the database.
    indexes = [Index(None, "series_id", "observed_at")] if readings else []
    data = Table(
        f"{view.name}_data",
        metadata,
        *stored,
        *own,
        *indexes,
        schema=view.schema,
        info={VIEW: view},
        sqlite_with_rowid=readings,
    )
    # Foreign keys refer to tables that only the models' metadata has.
    constraints.copy_constraints(view, data, foreign_keys=metadata is view.metadata)
    # The view refers to them.
    for name in (SERIES_NAME, SOURCES_NAME):
        data.add_is_dependent_on(metadata.tables[name])
    return data


def store_as_view(view: Table) -> None:
    """Let a model describe a view, and declare the table with its rows."""
    # It is no table of the database.
    view.metadata.remove(view)
    data = view.info[_DATA] = declare_data(view, view.metadata, view.c.keys())
    view.info[_LEFT_OUT] = list(constraints.left_out(view, data))


def _copy(column: Column[Any], create_types: bool = True) -> Column[Any]:
    """A copy of a column; a type of its own, such as an enumeration of PostgreSQL, is created with the table or not."""
    type_ = column.type
    if not create_types and isinstance(type_, SchemaType):
        # A copy that is not created.
        type_ = type_.adapt(type(type_))
    copy: Column[Any] = Column(
        column.name,
        type_,
        primary_key=column.primary_key,
        autoincrement=column.autoincrement,
        nullable=column.nullable,
        default=column.default,
        server_default=column.server_default,
    )
    return copy
