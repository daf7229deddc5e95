"""The kinds of columns: what a file holds for a value, and how it is checked when it is read back.

A value has three forms: as the handler uses it, as Parquet holds it (a text, an integer, a float or a boolean), and as
the text of a CSV cell. Each conversion is exact in both directions.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any
from uuid import UUID

from sparkle_app.model.time import is_plausible, micros, utc_text

# A spreadsheet takes a cell that begins with one of these for a formula (OWASP, "CSV Injection").
_FORMULA = "=+\\-@＝＋－＠"
_MARK = "'"
_BEGINS = re.compile(rf"[{_FORMULA}\t\r\n{_MARK}]")
# In many languages, such as Russian and German, spreadsheets separate cells at semicolons, and quotes within a line do
# not count: a cell then begins within the text.
_WITHIN = re.compile(rf"([;\t\r\n])(?=[{_FORMULA}{_MARK}\"])")
_MARKED = re.compile(rf"([;\t\r\n]){_MARK}")
MAX_BIGINT = 2**63 - 1


class InvalidCellError(ValueError):
    """A cell that cannot be imported; ``str()`` is what was expected.

    Arguments:
        column: of a cell that contradicts other cells of its row.
    """

    def __init__(self, expected: str, column: str = "") -> None:
        super().__init__(expected)
        self.column = column


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Kind:
    """A kind of columns."""

    parquet: str
    """Name of the type in Parquet, an attribute of pyarrow; ``timestamp`` is in UTC, with microseconds."""
    check: Callable[[Any], Any]
    """Converts what Parquet holds to the value. Raises InvalidCellError."""
    read_cell: Callable[[str], Any]
    """Converts a cell to what Parquet holds. Raises InvalidCellError."""
    plain: Callable[[Any], Any] = _same
    """Converts a value to what Parquet holds."""
    cell: Callable[[Any], str] = str
    """Converts what Parquet holds to a cell."""


def escape(text: str) -> str:
    """The text as a cell that contains no formula: an apostrophe marks where one would begin.

    :func:`unescape` is the inverse for any text.
    """
    return (_MARK if _BEGINS.match(text) else "") + _WITHIN.sub(rf"\1{_MARK}", text)


def unescape(cell: str) -> str:
    """The text of a cell, without the marks of :func:`escape`."""
    return _MARKED.sub(r"\1", cell.removeprefix(_MARK))


def text(max_bytes: int | None = None) -> Kind:
    """Text without NUL.

    Arguments:
        max_bytes: of UTF-8, at least one; None: any number.
    """

    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise InvalidCellError("a text")
        if "\0" in value:
            raise InvalidCellError("a text without NUL characters")
        if max_bytes is not None and not 0 < len(value.encode()) <= max_bytes:
            raise InvalidCellError(f"1 to {max_bytes} bytes of UTF-8")
        return value

    return Kind("string", check, unescape, cell=escape)


def as_text(expected: str, write: Callable[[Any], str], parse: Callable[[str], Any]) -> Kind:
    """Values that stand as texts, of which only the program knows the type.

    Arguments:
        write: the inverse of ``parse``, which raises ValueError, KeyError or TypeError.
    """

    def check(value: Any) -> Any:
        try:
            return parse(value)
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidCellError(expected) from error

    return Kind("string", check, unescape, write, escape)


def integer(minimum: int, maximum: int = MAX_BIGINT) -> Kind:
    """An integer."""
    expected = f"an integer from {minimum} to {maximum}"

    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise InvalidCellError(expected)
        return value

    def read_cell(cell: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,19}", cell, re.ASCII):
            raise InvalidCellError(expected)
        return int(cell)

    return Kind("int64", check, read_cell)


def number(*, finite: bool) -> Kind:
    """A double, in the shortest notation that denotes exactly this one.

    Arguments:
        finite: whether infinity is refused; NaN always is.
    """
    expected = "a finite number" if finite else "a number"

    def check(value: Any) -> float:
        if not isinstance(value, float) or math.isnan(value) or (finite and math.isinf(value)):
            raise InvalidCellError(expected)
        return value

    def read_cell(cell: str) -> float:
        try:
            # Python also reads digits that are grouped by underscores.
            return float(cell.replace("_", "?"))
        except ValueError as error:
            raise InvalidCellError(expected) from error

    return Kind("float64", check, read_cell, float, repr)


def _check_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidCellError("true or false")
    return value


def _read_flag(cell: str) -> bool:
    # A spreadsheet that has saved the file writes capitals.
    if cell.lower() not in ("true", "false"):
        raise InvalidCellError("true or false")
    return cell.lower() == "true"


def _check_id(value: Any) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-fA-F]{32}", value):
        raise InvalidCellError("32 hexadecimal digits")
    return bytes.fromhex(value)


def _check_time(value: Any) -> int:
    if not isinstance(value, int) or not is_plausible(value):
        raise InvalidCellError("a time from 2000 to 2099")
    return value


def _read_time(cell: str) -> int:
    expected = "a time such as 2026-11-23T12:00:00.000000Z"
    try:
        at = datetime.fromisoformat(cell)
    except ValueError as error:
        raise InvalidCellError(expected) from error
    if at.tzinfo is None:
        raise InvalidCellError(expected)
    return micros(at)


def _time_cell(at: int) -> str:
    return utc_text(at).replace(" ", "T") + "Z"


def _check_decimal(value: Any) -> Decimal:
    try:
        found = Decimal(value)
    except (InvalidOperation, TypeError, ValueError) as error:
        raise InvalidCellError("a decimal number") from error
    if not found.is_finite():
        raise InvalidCellError("a finite decimal number")
    return found


def _check_json(value: Any) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    try:
        return json.loads(value, parse_constant=refuse)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidCellError("a JSON value") from error


def _json_text(value: Any) -> str:
    found = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        found.encode()
    except UnicodeEncodeError:
        # A lone surrogate, which only an escape sequence can express.
        return json.dumps(value, separators=(",", ":"))
    return found


FLAG = Kind("bool_", _check_flag, _read_flag, bool, lambda value: "true" if value else "false")
ID = Kind("string", _check_id, _same, bytes.hex)
TIME = Kind("timestamp", _check_time, _read_time, cell=_time_cell)
DECIMAL = Kind("string", _check_decimal, _same, str)
JSON = Kind("string", _check_json, _same, _json_text, lambda text: text.replace(";", r"\u003b"))
"""Never a formula: it begins with a bracket, a quote, a word such as `null`, or a number, and has no semicolon."""
_TEXTS: Mapping[type, Kind] = {
    datetime: as_text("a date and time", datetime.isoformat, datetime.fromisoformat),
    date: as_text("a date", date.isoformat, date.fromisoformat),
    time: as_text("a time of day", time.isoformat, time.fromisoformat),
    UUID: as_text("a UUID", str, UUID),
    bytes: as_text("hexadecimal digits", bytes.hex, bytes.fromhex),
}


def of_type(python_type: type) -> Kind:
    """The kind of values of a type that is neither a number nor a text."""
    if issubclass(python_type, Enum):
        names = f"one of {', '.join(python_type.__members__)}"
        return as_text(names, lambda value: str(value.name), python_type.__getitem__)
    return _TEXTS.get(python_type, JSON)
