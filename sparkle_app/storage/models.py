"""The SQL tables of a plugin: raw readings and aggregates. A plugin subclasses both and names them."""

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, DateTime, Dialect, Double, Index, Integer, String, Table, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from sqlalchemy.types import TypeDecorator


class Base(DeclarativeBase):
    """Base of all plugins' tables."""

    # SQLAlchemy promises a FromClause only, since a class may also map a query.
    __table__: ClassVar[Table]


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC, also where the database keeps no time zone (SQLite)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse naive datetimes: they are a mistake of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("expected an aware datetime, found a naive one")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Always aware, always UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ReadingId(TypeDecorator[bytes]):
    """The 16 bytes of a reading's id, as the database's UUID (32 hexadecimal digits where it has none)."""

    impl = Uuid(as_uuid=True)
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> Any:
        """Bytes as a UUID."""
        return None if value is None else UUID(bytes=value)

    def process_result_value(self, value: UUID | None, dialect: Dialect) -> bytes | None:
        """A UUID as bytes."""
        return None if value is None else value.bytes


class ReadingsTable(Base):
    """Stored readings: one row for each reading, duplicates excluded. Subclass it and set ``__tablename__``."""

    __abstract__ = True

    id: Mapped[bytes] = mapped_column(ReadingId, primary_key=True)
    """First 16 bytes of the ciphertext's SHA-256."""
    config_id: Mapped[int] = mapped_column(BigInteger)
    hostname: Mapped[str] = mapped_column(String(1024))
    metric: Mapped[str] = mapped_column(String(255))
    value: Mapped[float] = mapped_column(Double)
    observed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """Event time."""
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """The broker's timestamp."""
    clock_trusted: Mapped[bool] = mapped_column(Boolean)
    """False: the clock of the host was wrong, and observed_at is the broker's timestamp."""
    topic: Mapped[str] = mapped_column(String(249))
    partition: Mapped[int] = mapped_column(Integer)
    offset: Mapped[int] = mapped_column(BigInteger)

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:
        """Finds, and aggregates, the readings of one host and time range without reading other rows."""
        return (Index(f"ix_{cls.__tablename__}_hostname_observed_at", "hostname", "observed_at"),)


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
