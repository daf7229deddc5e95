"""The SQL tables of a plugin, stored readings and aggregates. A plugin subclasses both and sets their names."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Boolean, Double, Index, Integer, String, Table, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from sparkle_app.storage.columns import ReadingId, UtcDateTime

# With the metric and the other columns of the key, the longest that fits into an index entry of InnoDB: it has 3,072
# bytes, four for each character.
_HOSTNAME = String(1024).with_variant(String(510), "mysql")


class Base(DeclarativeBase):
    """Base of all plugins' tables."""

    # SQLAlchemy declares a FromClause, because a class may also be mapped to a query.
    __table__: ClassVar[Table]


class ReadingsTable(Base):
    """Stored readings: one row for each reading, duplicates excluded. Subclass it and set ``__tablename__``."""

    __abstract__ = True

    id: Mapped[bytes] = mapped_column(ReadingId, primary_key=True)
    """First 16 bytes of the SHA-256 hash of the ciphertext."""
    config_id: Mapped[int] = mapped_column(BigInteger)
    hostname: Mapped[str] = mapped_column(_HOSTNAME)
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

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:
        """Finds, and aggregates, the readings of one host and time range without reading other rows."""
        return (Index(f"ix_{cls.__tablename__}_hostname_observed_at", "hostname", "observed_at"),)


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

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:
        """Finds the buckets of a time range without reading other rows."""
        return (Index(f"ix_{cls.__tablename__}_bucket_start", "bucket_start"),)

    hostname: Mapped[str] = mapped_column(_HOSTNAME, primary_key=True)
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
