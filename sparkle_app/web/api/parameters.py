"""Query parameters: description, validation and error messages."""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from multidict import MultiMapping

from sparkle_app.model.time import LATEST, parse_instant
from sparkle_app.web.problems import Problem

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = r"^([1-9][0-9]{0,5})([smhd]?)$"
_MAX_VALUES = 100
"""Of a parameter that is given several times."""
_CURSOR = r"^([0-9]{1,16})-([0-9a-f]{32})$"
MAX_ENTRIES = 1000
DEFAULT_ENTRIES = 100
"""Of a page."""


class InvalidParameterError(ValueError):
    """A parameter has an invalid value; ``str()`` is what was expected."""


@dataclass(frozen=True)
class Parameter:
    """A query parameter."""

    name: str
    description: str
    parse: Callable[[str], Any]
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})
    """JSON Schema of the value in the URL."""
    several: bool = False
    """Whether it may be given several times: its value is a list."""


def read(query: MultiMapping[str], parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Parse the query string into the parameters' values; None for a parameter that is absent.

    Raises:
        Problem: 400, naming the parameter, what was expected and what was found.
    """
    known = {parameter.name for parameter in parameters}
    for name in query:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)
            hint = f"did you mean {nearest[0]}?" if nearest else "this path takes no parameters"
            raise Problem(400, f"{name}: expected a known parameter; {hint}")
    values: dict[str, Any] = {}
    for parameter in parameters:
        given = query.getall(parameter.name, [])
        if len(given) > (_MAX_VALUES if parameter.several else 1):
            most = f"at most {_MAX_VALUES} values" if parameter.several else "one value"
            raise Problem(400, f"{parameter.name}: expected {most}, found {len(given)}")
        parsed = [_parsed(parameter, value) for value in given]
        if parameter.several:
            values[parameter.name] = parsed or None
        else:
            values[parameter.name] = parsed[0] if parsed else None
    return values


def _parsed(parameter: Parameter, given: str) -> Any:
    try:
        return parameter.parse(given)
    except InvalidParameterError as error:
        raise Problem(400, f"{parameter.name}: expected {error}, found {given[:100]!r}") from error


def repeated(one: Parameter) -> Parameter:
    """A parameter that may be given several times."""
    schema = {"type": "array", "items": one.schema, "minItems": 1, "maxItems": _MAX_VALUES}
    return replace(one, schema=schema, several=True)


def duration(name: str, description: str) -> Parameter:
    """A duration such as 900, 90s, 15m, 1h or 1d, as seconds."""

    def parse(text: str) -> int:
        match = re.fullmatch(_DURATION, text, re.ASCII)
        if not match:
            raise InvalidParameterError("seconds, or a duration such as 90s, 15m, 1h, 1d")
        return int(match[1]) * _UNITS[match[2]]

    return Parameter(name, description, parse, {"type": "string", "pattern": _DURATION})


def instant(name: str, description: str) -> Parameter:
    """A time with an offset (RFC 3339) or a date, as microseconds since the epoch."""

    def parse(text: str) -> int:
        try:
            # A plus that was not percent-encoded arrives as a space.
            return parse_instant(text.replace(" ", "+") if "T" in text.upper() else text)
        except ValueError as error:
            raise InvalidParameterError(str(error)) from error

    schema = {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}
    return Parameter(name, description, parse, schema)


def integer(name: str, description: str, maximum: int, minimum: int = 1) -> Parameter:
    """An integer from ``minimum`` to ``maximum``."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not minimum <= int(text) <= maximum:
            raise InvalidParameterError(f"an integer from {minimum} to {maximum}")
        return int(text)

    return Parameter(name, description, parse, {"type": "integer", "minimum": minimum, "maximum": maximum})


def text(name: str, description: str) -> Parameter:
    """Any text without NUL, which no record contains."""

    def parse(given: str) -> str:
        if "\0" in given:
            raise InvalidParameterError("a text without NUL characters")
        return given

    return Parameter(name, description, parse)


def choice(name: str, description: str, values: Sequence[str]) -> Parameter:
    """One of some words."""

    def parse(given: str) -> str:
        if given not in values:
            raise InvalidParameterError(" or ".join(values))
        return given

    return Parameter(name, description, parse, {"type": "string", "enum": list(values)})


def sort(description: str, names: Sequence[str]) -> Parameter:
    """``host`` or one of other names, with ``-`` before it for the reverse order."""
    values = [sign + name for name in ("host", *names) for sign in ("", "-")]
    listed = ", ".join(f"`{name}`" for name in names)
    return choice("sort", f"What to sort by: {description} {listed}. With `-` before it: in reverse.", values)


def cursor(name: str, description: str) -> Parameter:
    """Where a page of readings ended: event time (microseconds since the epoch) and id of its last reading."""

    def parse(given: str) -> tuple[int, bytes]:
        match = re.fullmatch(_CURSOR, given, re.ASCII)
        if not match or int(match[1]) > LATEST:
            raise InvalidParameterError("the `next` value of the previous page")
        return int(match[1]), bytes.fromhex(match[2])

    return Parameter(name, description, parse, {"type": "string", "pattern": _CURSOR})


def cursor_of(at: int, id_: bytes) -> str:
    """The value of a parameter of the kind :func:`cursor`."""
    return f"{at}-{id_.hex()}"


LIMIT = integer("limit", f"Maximum number of entries. Default: {DEFAULT_ENTRIES}.", MAX_ENTRIES)
