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
_OTHERS: tuple[Any, ...] = ("text", {"a": 1}, [1], True)


def check_declared(plugin: Plugin, where: str) -> None:
    """Check that ``minimum`` and ``maximum`` are numbers, and that ``unit`` is a text.

    Raises:
        ConfigurationError: if one is not.
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
    for value in (_number(plugin), *_OTHERS):
        try:
            valid = plugin.validate("key", value)
        # A plugin may raise any exception for a value that it does not expect.
        except Exception:
            continue
        if not _fits(valid, expected):
            raise ConfigurationError(
                where,
                expected=f"validate() to return what the column value of {plugin.DataFrame.__tablename__}"
                f" ({column.type}) can store",
                found=f"{kind_of(valid)} for {value!r}",
                hint="use StringPlugin or JsonPlugin for values that are not numbers: docs/plugins.md",
            )


def _number(plugin: Plugin) -> float:
    """A number within the plugin's bounds."""
    return next((bound for bound in (plugin.minimum, plugin.maximum) if math.isfinite(bound)), 0.0)


def _fits(value: Any, expected: type) -> bool:
    if expected in _NUMBERS:
        return isinstance(value, _NUMBERS) and not isinstance(value, bool)
    return isinstance(value, expected)
