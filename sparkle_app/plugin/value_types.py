"""Whether a plugin's bounds are numbers, its unit a text, and its table can store what its `validate` accepts."""

import math
from decimal import Decimal
from numbers import Real
from typing import Any

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin_api import Plugin
from sparkle_app.plugin_api.numeric import kind_of
from sparkle_app.runtime.terminal import is_utf8

_NUMBERS = (float, int, Decimal)
_EXACT = {int: "an int", Decimal: "a Decimal"}
_OTHERS: tuple[Any, ...] = ("text", {"a": 1}, [1], True)


def check_declared(plugin: Plugin, where: str) -> None:
    """Check that ``minimum`` and ``maximum`` are numbers between which there is one, and that ``unit`` is a text.

    Raises:
        ConfigurationError: if they are not.
    """
    for name in ("minimum", "maximum"):
        bound: Any = getattr(plugin, name)
        if not isinstance(bound, Real | Decimal):
            raise ConfigurationError(
                where,
                expected=f"`{name}` to be a number",
                found=repr(bound)[:100],
                hint="correct it, or leave it out",
            )
    if not plugin.minimum <= plugin.maximum:
        raise ConfigurationError(
            where,
            expected="`minimum` to be at most `maximum`: otherwise no value is valid",
            found=f"{plugin.minimum!r} and {plugin.maximum!r}",
            hint="correct them",
        )
    unit: Any = plugin.unit
    if not (isinstance(unit, str) and is_utf8(unit)):
        raise ConfigurationError(
            where,
            expected="`unit` to be a text without lone surrogates",
            found=repr(unit)[:100],
            hint="correct it, or leave it out",
        )


def check_value_type(plugin: Plugin, where: str) -> None:
    """Validate a number and other values, and compare those that are accepted with the type of the column ``value``.

    A plugin with its own ``store_readings`` may have any tables, so it is not checked.

    Raises:
        ConfigurationError: if the column cannot store an accepted value: the database would reject every such reading.
    """
    if type(plugin).store_readings is not Plugin.store_readings:
        return
    column = plugin.DataFrame.__table__.c.value
    try:
        expected = column.type.python_type
    except NotImplementedError:
        return
    # Other types, such as JSON, store what SQLAlchemy says.
    if expected not in (*_NUMBERS, str):
        return
    for value in (*_numbers(plugin), *_OTHERS):
        try:
            valid = plugin.validate("key", value)
        # A plugin may raise any exception for a value that it does not expect.
        except (Exception, SystemExit):
            continue
        if expected in _EXACT and isinstance(valid, float) and not valid.is_integer():
            raise ConfigurationError(
                where,
                expected=f"validate() to return {_EXACT[expected]} for the column value of"
                f" {plugin.DataFrame.__tablename__} ({column.type}), since PostgreSQL would round a float",
                found=f"{valid!r} for {value!r}",
                hint="convert it in validate(), or remove the column value from the table: it is a Double then",
            )
        if not _fits(valid, expected):
            raise ConfigurationError(
                where,
                expected=f"validate() to return what the column value of {plugin.DataFrame.__tablename__}"
                f" ({column.type}) can store",
                found=f"{kind_of(valid)} for {value!r}",
                hint="use StringPlugin or JsonPlugin for values that are not numbers: docs/plugins.md",
            )


def _numbers(plugin: Plugin) -> list[float]:
    """A number within the plugin's bounds, and one with a fraction, if there is any."""
    number = next((bound for bound in (plugin.minimum, plugin.maximum) if math.isfinite(bound)), 0.0)
    halves = (math.floor(number) + 0.5, math.floor(number) - 0.5)
    return [number, *[half for half in halves if plugin.minimum <= half <= plugin.maximum][:1]]


def _fits(value: Any, expected: type) -> bool:
    if expected in _NUMBERS:
        return isinstance(value, _NUMBERS) and not isinstance(value, bool)
    return isinstance(value, expected)
