"""Types of Oracle Database that keep what those of other databases keep."""

from typing import Any

from sqlalchemy import Double, Float, String, Text
from sqlalchemy.dialects import oracle
from sqlalchemy.dialects.oracle.base import OracleTypeCompiler
from sqlalchemy.dialects.oracle.oracledb import OracleDialect_oracledb
from sqlalchemy.engine.interfaces import Dialect

_EMPTY = "\0"
"""Stands for an empty string, which Oracle takes for NULL. No text of a reading contains NUL."""
_TEXT: Any = OracleDialect_oracledb.colspecs[Text]
# Of bytes, in a VARCHAR2.
_MAX_LENGTH = 4000


class OracleTypes(OracleTypeCompiler):
    """Numbers of double precision, and strings without a length."""

    def visit_double(self, type_: Any, **kw: Any) -> str:
        """DOUBLE PRECISION is a decimal number, which has neither infinity nor 1e308."""
        return "BINARY_DOUBLE"

    def visit_float(self, type_: Any, **kw: Any) -> str:
        """Of double precision, unless another is declared."""
        if type_.precision is None:
            return "BINARY_DOUBLE"
        return str(super().visit_float(type_, **kw))  # type: ignore[no-untyped-call]

    def visit_string(self, type_: Any, **kw: Any) -> str:
        """With the greatest length if it has none."""
        if not type_.length:
            return f"VARCHAR2({_MAX_LENGTH})"
        return str(super().visit_string(type_, **kw))  # type: ignore[no-untyped-call]


class OracleDouble(Double[Any]):
    """A number that is passed as a double: as a decimal number, it would lose digits."""

    cache_ok = True

    def get_dbapi_type(self, dbapi: Any) -> Any:
        """The driver's type."""
        return dbapi.NATIVE_FLOAT


class _MayBeEmpty:
    """Of a type of strings."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Any:
        """Replace an empty string."""
        return lambda value: _EMPTY if value == "" else value

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Restore it."""
        return lambda value: "" if value == _EMPTY else value


class OracleString(_MayBeEmpty, String):
    """A string that may be empty."""


class OracleText(_MayBeEmpty, _TEXT):  # type: ignore[misc]
    """A string without a length, a CLOB, that may be empty."""


def adapt(dialect: Any) -> None:
    """Let a dialect of SQLAlchemy use these types."""
    dialect.type_compiler_instance = OracleTypes(dialect)
    doubles = {Float: OracleDouble, Double: OracleDouble, oracle.BINARY_DOUBLE: OracleDouble}
    dialect.colspecs = {**dialect.colspecs, **doubles, String: OracleString, Text: OracleText}
