"""The types of columns with times and ids, and the conversions of their values, in Python and in SQL."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Uuid, literal_column, type_coerce
from sqlalchemy.types import TypeEngine

from sparkle_app.model.time import micros, moment, span


class ColumnTypes:
    """Those of a database: numbers and UUIDs, unless it has better ones."""

    time_type: TypeEngine[Any] = BigInteger()
    """The type of columns with times."""
    id_type: TypeEngine[Any] = Uuid(native_uuid=False)
    """The type of columns with ids, which are any 16 bytes: some databases only accept UUIDs of known versions."""
    hashes_names = False
    """Whether :meth:`name_key` is a function of the database itself."""

    def time_value(self, at: datetime) -> Any:
        """Convert an aware datetime to a value of ``time_type``."""
        return micros(at)

    def time_of(self, value: Any) -> datetime:
        """Convert a value of ``time_type`` to an aware datetime."""
        return moment(value)

    def id_value(self, id_: bytes) -> Any:
        """Convert an id to a value of ``id_type``."""
        return UUID(bytes=id_)

    def id_of(self, value: Any) -> bytes:
        """Convert a value of ``id_type`` to an id."""
        return bytes(value.bytes)

    @property
    def compact_time_type(self) -> TypeEngine[Any]:
        """The type with the fewest bytes of columns with times."""
        return self.time_type

    @property
    def compact_id_type(self) -> TypeEngine[Any]:
        """The type with the fewest bytes of columns with ids."""
        return self.id_type

    def compact_time_value(self, at: datetime) -> Any:
        """Convert an aware datetime to a value of ``compact_time_type``."""
        return self.time_value(at)

    def compact_time_of(self, value: Any) -> datetime:
        """Convert a value of ``compact_time_type`` to an aware datetime."""
        return self.time_of(value)

    def compact_id_value(self, id_: bytes) -> Any:
        """Convert an id to a value of ``compact_id_type``."""
        return self.id_value(id_)

    def compact_id_of(self, value: Any) -> bytes:
        """Convert a value of ``compact_id_type`` to an id."""
        return self.id_of(value)

    def readable_time(self, at: ColumnElement[Any]) -> ColumnElement[Any]:
        """A column of ``compact_time_type`` as a view shows it: as ``time_type``."""
        return at

    def readable_id(self, id_: ColumnElement[Any]) -> ColumnElement[Any]:
        """A column of ``compact_id_type`` as a view shows it: as ``id_type``."""
        return id_

    def readable_bucket(
        self, number: ColumnElement[Any], bucket_size: ColumnElement[Any]
    ) -> ColumnElement[Any]:
        """The start of a bucket as a view shows it, from its :meth:`bucket_number`."""
        return number * bucket_size * span(1)

    def compact_time(self, at: ColumnElement[Any]) -> ColumnElement[Any]:
        """A column of ``time_type`` as ``compact_time_type``."""
        return at

    def compact_id(self, id_: ColumnElement[Any]) -> ColumnElement[Any]:
        """A column of ``id_type`` as ``compact_id_type``."""
        return id_

    def whole_seconds(self, at: ColumnElement[Any]) -> ColumnElement[int]:
        """Seconds since the epoch of a column of ``time_type``, without the fraction."""
        return type_coerce(at, BigInteger) // literal_column(str(span(1)), BigInteger)

    def name_key(self, name: ColumnElement[str]) -> ColumnElement[Any]:
        """First 16 bytes of the SHA-256 hash of a text in UTF-8, as ``compact_id_type``.

        Raises:
            NotImplementedError: if this is not known for the database.
        """
        raise NotImplementedError("this database has no known SHA-256 function")

    def bucket_number(self, at: ColumnElement[Any], bucket_size: int) -> ColumnElement[int]:
        """The number of the bucket of ``bucket_size`` seconds that contains a compact time; number 0 begins in 1970."""
        return type_coerce(at, BigInteger) // literal_column(str(span(bucket_size)), BigInteger)


class NaiveTimes(ColumnTypes):
    """Of a database whose times have no time zone: they are in UTC."""

    def time_value(self, at: datetime) -> datetime:
        """Without the time zone, which the type does not store."""
        return at.replace(tzinfo=None)

    def time_of(self, value: datetime) -> datetime:
        """With the time zone."""
        return value.replace(tzinfo=UTC)


class BinaryIds(ColumnTypes):
    """Of a database with a type for 16 bytes."""

    def id_value(self, id_: bytes) -> bytes:
        """The same."""
        return id_

    def id_of(self, value: bytes) -> bytes:
        """The same."""
        return bytes(value)
