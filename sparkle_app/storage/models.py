"""The SQL tables of a plugin, stored readings and aggregates. A plugin subclasses both and sets their names.

A model describes a view, in which people and plugins read. What the view shows is stored in a table ``<name>_data``,
with a number in place of each name: rows are less than half as long.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import SchemaType

from sparkle_app.storage.columns import CompactId, CompactTime, ReadingId, UtcDateTime
from sparkle_app.storage.views import VIEW

_DATA = "sparkle_data"
"""Key of a view's info: the table with its rows."""
_LEFT_OUT = "sparkle_left_out"
"""Key of a view's info: descriptions of the indexes and constraints that the table with its rows does not have."""


class Base(DeclarativeBase):
    """Base of all plugins' tables."""

    # SQLAlchemy declares a FromClause, because a class may also be mapped to a query.
    __table__: ClassVar[Table]


SERIES = Table(
    "sparkle_series",
    Base.metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("key", CompactId, nullable=False, unique=True),
    Column("hostname", String(1024), nullable=False),
    Column("metric", String(255), nullable=False),
    Column("resolution", Integer, nullable=False),
    Index(
        "ix_sparkle_series_hostname_resolution",
        "hostname",
        "resolution",
        mysql_length={"hostname": 255},
        mariadb_length={"hostname": 255},
    ),
)
"""The series of readings (resolution 0) and of aggregates (bucket size in seconds): a metric of a host.

``key`` is a hash of the other columns: names are longer than some databases can index."""
SOURCES = Table(
    "sparkle_sources",
    Base.metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("key", CompactId, nullable=False, unique=True),
    Column("config_id", BigInteger, nullable=False),
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("clock_trusted", Boolean, nullable=False),
)
"""What many readings have in common."""


class RetentionRow(Base):
    """What is kept of one resolution of a plugin, and what is merged: the times of :class:`Watermark`."""

    __tablename__ = "sparkle_retention"

    plugin: Mapped[str] = mapped_column(String(255), primary_key=True)
    resolution: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """Seconds; 0 for readings."""
    complete_since: Mapped[int] = mapped_column(BigInteger)
    kept_since: Mapped[int] = mapped_column(BigInteger)
    deleted_until: Mapped[int] = mapped_column(BigInteger)
    merging_until: Mapped[int] = mapped_column(BigInteger)
    merged_until: Mapped[int] = mapped_column(BigInteger)


RETENTION = RetentionRow.__table__


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


class ReadingsTable(Base):
    """Stored readings: one row for each reading, duplicates excluded. Subclass it and set ``__tablename__``."""

    __abstract__ = True

    id: Mapped[bytes] = mapped_column(ReadingId, primary_key=True)
    """First 16 bytes of the SHA-256 hash of the ciphertext."""
    config_id: Mapped[int] = mapped_column(BigInteger)
    hostname: Mapped[str] = mapped_column(String(1024))
    metric: Mapped[str] = mapped_column(String(255))
    value: Mapped[float] = mapped_column(Double)
    observed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """Event time."""
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """The record's timestamp."""
    clock_trusted: Mapped[bool] = mapped_column(Boolean)
    """False: the host's clock was wrong, and observed_at is received_at."""
    topic: Mapped[str] = mapped_column(String(249))
    partition: Mapped[int] = mapped_column(Integer)
    offset: Mapped[int] = mapped_column(BigInteger)

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "__table__" in vars(cls):
            _store_as_view(cls.__table__)


class StringReadingsTable(ReadingsTable):
    """Stored readings whose values are strings. Subclass it and set ``__tablename__``."""

    __abstract__ = True

    value: Mapped[str] = mapped_column(Text)  # type: ignore[assignment] # another type than in ReadingsTable


class JsonReadingsTable(ReadingsTable):
    """Stored readings whose values are any JSON. Subclass it and set ``__tablename__``."""

    __abstract__ = True

    value: Mapped[Any] = mapped_column(JSON, nullable=False)


class AggregatesTable(Base):
    """Aggregates: one row for each host, metric and bucket. Subclass it and set ``__tablename__``."""

    __abstract__ = True

    hostname: Mapped[str] = mapped_column(String(1024), primary_key=True)
    metric: Mapped[str] = mapped_column(String(255), primary_key=True)
    resolution: Mapped[int] = mapped_column(Integer, primary_key=True)
    """Bucket size, seconds."""
    bucket_start: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    sum: Mapped[float] = mapped_column(Double)
    minimum: Mapped[float] = mapped_column(Double)
    maximum: Mapped[float] = mapped_column(Double)
    last: Mapped[float] = mapped_column(Double)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime)

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "__table__" in vars(cls):
            _store_as_view(cls.__table__)


def data_table(view: Table) -> Table:
    """The table with the rows of a model's view; a table that is not a view itself."""
    data: Table = view.info.get(_DATA, view)
    return data


def own_columns(view: Table) -> list[str]:
    """The columns that a plugin has added to those of its model's base."""
    base = ReadingsTable if "observed_at" in view.c else AggregatesTable
    return [each.name for each in view.c if each.name not in vars(base)]


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


def tables_of(*models: type[Base]) -> list[Table]:
    """All tables that these models need."""
    return [SERIES, SOURCES, RETENTION, *(data_table(model.__table__) for model in models)]


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
    names = {each.name for each in (*stored, *own)}
    data = Table(
        f"{view.name}_data",
        metadata,
        *stored,
        *own,
        *indexes,
        *_constraints(view, names),
        schema=view.schema,
        info={VIEW: view},
        sqlite_with_rowid=readings,
    )
    # The view refers to them.
    for each in (SERIES, SOURCES):
        data.add_is_dependent_on(metadata.tables[each.name])
    return data


def _store_as_view(view: Table) -> None:
    # It is no table of the database.
    view.metadata.remove(view)
    data = view.info[_DATA] = declare_data(view, view.metadata, view.c.keys())
    view.info[_LEFT_OUT] = list(_left_out(view, data.c.keys()))


def _constraints(view: Table, names: Collection[str]) -> Iterator[Index | UniqueConstraint]:
    """Indexes and unique constraints of a plugin, of columns that are stored."""
    for each in (*view.indexes, *view.constraints):
        if not isinstance(each, Index | UniqueConstraint) or not set(each.columns.keys()) <= set(names):
            continue
        if isinstance(each, Index):
            yield Index(each.name, *each.columns.keys(), unique=each.unique)
        else:
            yield UniqueConstraint(*each.columns.keys(), name=each.name)


def _left_out(view: Table, names: Collection[str]) -> Iterator[str]:
    for each in (*view.indexes, *view.constraints):
        if isinstance(each, Index | UniqueConstraint):
            missing = [column.name for column in each.columns if column.name not in names]
            kind = "index" if isinstance(each, Index) else "unique constraint"
            name = f"{kind} {each.name}" if each.name else kind
            if missing:
                yield f"{name} of {view.name}, which names {' and '.join(missing)}"


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
