"""The SQL tables of a plugin, stored readings and aggregates. A plugin subclasses both and sets their names.

A model describes a view, in which people and plugins read. What the view shows is stored in a table ``<name>_data``,
with a number in place of each name: rows are less than half as long.
"""

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
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sparkle_app.storage.columns import CompactId, ReadingId, UtcDateTime
from sparkle_app.storage.data_tables import SERIES_NAME, SOURCES_NAME, data_table, store_as_view


class Base(DeclarativeBase):
    """Base of all plugins' tables."""

    # SQLAlchemy declares a FromClause, because a class may also be mapped to a query.
    __table__: ClassVar[Table]


SERIES = Table(
    SERIES_NAME,
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
    SOURCES_NAME,
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
    """What is kept of one resolution of a plugin, and what is merged: a :class:`Watermark`."""

    __tablename__ = "sparkle_retention"

    plugin: Mapped[str] = mapped_column(String(255), primary_key=True)
    resolution: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """Seconds; 0 for readings."""
    complete_since: Mapped[int] = mapped_column(BigInteger)
    kept_since: Mapped[int] = mapped_column(BigInteger)
    deleted_until: Mapped[int] = mapped_column(BigInteger)
    merging_until: Mapped[int] = mapped_column(BigInteger)
    merged_until: Mapped[int] = mapped_column(BigInteger)
    rebuilt_at: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Of readings only."""


RETENTION = RetentionRow.__table__


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
            store_as_view(cls.__table__)


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
            store_as_view(cls.__table__)


def own_columns(view: Table) -> list[str]:
    """The columns that a plugin has added to those of its model's base."""
    base = ReadingsTable if "observed_at" in view.c else AggregatesTable
    return [each.name for each in view.c if each.name not in vars(base)]


def tables_of(*models: type[Base]) -> list[Table]:
    """All tables that these models need."""
    return [SERIES, SOURCES, RETENTION, *(data_table(model.__table__) for model in models)]
