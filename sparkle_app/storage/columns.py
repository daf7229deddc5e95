"""The types of columns that databases represent differently."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Boolean, DateTime, Dialect, Double, Integer, String, Table, Text, Uuid
from sqlalchemy.types import TypeDecorator, TypeEngine

from sparkle_app.storage.dialects.base import dialect_named


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC, even if the database does not store time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database's type."""
        return dialect.type_descriptor(dialect_named(dialect.name).time_type)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Convert to UTC. A naive datetime is an error of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("expected an aware datetime, found a naive one")
        return dialect_named(dialect.name).time_value(value.astimezone(UTC))

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Convert to an aware datetime in UTC."""
        return None if value is None else dialect_named(dialect.name).time_of(value)


class ReadingId(TypeDecorator[bytes]):
    """The 16 bytes of a reading's id, as a UUID if the database has no better type."""

    impl = Uuid(as_uuid=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database's type."""
        return dialect.type_descriptor(dialect_named(dialect.name).id_type)

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> Any:
        """Convert bytes to a value of the database."""
        return None if value is None else dialect_named(dialect.name).id_value(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> bytes | None:
        """Convert a value of the database to bytes."""
        return None if value is None else dialect_named(dialect.name).id_of(value)


class CompactTime(UtcDateTime):
    """As :class:`UtcDateTime`, in the fewest bytes: whole microseconds if the database would store a text."""

    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database's type."""
        return dialect.type_descriptor(dialect_named(dialect.name).compact_time_type)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Convert to a value of the database."""
        return None if value is None else dialect_named(dialect.name).compact_time_value(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Convert to an aware datetime in UTC."""
        return None if value is None else dialect_named(dialect.name).compact_time_of(value)


class CompactId(ReadingId):
    """As :class:`ReadingId`, in 16 bytes if the database would store a text."""

    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database's type."""
        return dialect.type_descriptor(dialect_named(dialect.name).compact_id_type)

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> Any:
        """Convert bytes to a value of the database."""
        return None if value is None else dialect_named(dialect.name).compact_id_value(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> bytes | None:
        """Convert a value of the database to bytes."""
        return None if value is None else dialect_named(dialect.name).compact_id_of(value)


_PLAIN = {
    BigInteger, Boolean, CompactId, CompactTime, Double, Integer, ReadingId, String, Text, UtcDateTime,
}  # fmt: skip


@cache
def are_plain(table: Table) -> bool:
    """Whether bulk statements support the type of every column, and no column has a default computed in Python."""
    return all(type(each.type) in _PLAIN and each.default is None for each in table.c)


@cache
def are_compact(table: Table) -> bool:
    """Whether times and ids of the table are stored in the fewest bytes."""
    return any(type(each.type) in (CompactId, CompactTime) for each in table.c)
