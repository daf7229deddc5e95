"""The SQL tables of a plugin, stored readings and aggregates. A plugin subclasses both and sets their names."""

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    String,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from sqlalchemy.types import TypeDecorator


class Base(DeclarativeBase):
    """Base of all plugins' tables."""

    # SQLAlchemy declares a FromClause, because a class may also be mapped to a query.
    __table__: ClassVar[Table]


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC, even if the database does not store time zones (SQLite)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Convert to UTC. A naive datetime is an error of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("expected an aware datetime, found a naive one")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to an aware datetime in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ReadingId(TypeDecorator[bytes]):
    """The 16 bytes of a reading's id, as a UUID (32 hexadecimal digits if the database has no such type)."""

    impl = Uuid(as_uuid=True)
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> Any:
        """Convert bytes to a UUID."""
        return None if value is None else UUID(bytes=value)

    def process_result_value(self, value: UUID | None, dialect: Dialect) -> bytes | None:
        """Convert a UUID to bytes."""
        return None if value is None else value.bytes


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
