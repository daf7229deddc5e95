"""The number of a reading: only these functions call :meth:`Plugin.numeric_value`."""

import logging
import math
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any

from sparkle_app.model.reading import StoredReading

if TYPE_CHECKING:
    from sparkle_app.plugin_api.plugin import Plugin

logger = logging.getLogger(__name__)
# float is first: it is the usual one, and the check of the others is slower.
_NUMBERS = (float, Real, Decimal)
_KINDS = {
    bool: "a boolean", str: "a string", list: "an array", dict: "an object", type(None): "null",
    int: "a number", float: "a number",
}  # fmt: skip
_logged: set[type] = set()
"""Classes of plugins whose error was logged."""


class InvalidValue(ValueError):
    """Raised by :meth:`Plugin.validate`. The message says what was expected, and must not quote the value."""


def kind_of(value: Any) -> str:
    """What a JSON value is, for messages: ``a string``."""
    return _KINDS.get(type(value), "another type")


def number_of(plugin: "Plugin", reading: StoredReading) -> float | None:
    """The number of a reading, as a float; None if it is not aggregated. Booleans are 1 and 0.

    Raises:
        InvalidValue: if it is not a finite real number.
        Exception: whatever the plugin raises.
    """
    value: Any = plugin.numeric_value(reading)
    if value is None:
        return None
    if not isinstance(value, _NUMBERS):
        raise InvalidValue(f"expected numeric_value to return a number, found {kind_of(value)}")
    try:
        number = float(value)
    except (OverflowError, ValueError):
        # Too large, or a signaling NaN.
        number = math.nan
    if not math.isfinite(number):
        raise InvalidValue("expected a finite numeric value")
    return number


def stored_number(plugin: "Plugin", reading: StoredReading) -> float | None:
    """As :func:`number_of`, of a stored reading; None, and logged once for each plugin, if there is an error.

    The reading was valid when it was stored: then a later version of the plugin does not understand older readings.
    """
    try:
        return number_of(plugin, reading)
    except MemoryError:
        # Not caused by the reading.
        raise
    # A plugin may even call sys.exit().
    except (Exception, SystemExit) as error:
        if type(plugin) not in _logged:
            _logged.add(type(plugin))
            # The exception's text is omitted: it may quote the value.
            logger.error(
                "%s: numeric_value raised %s for a stored reading (topic %s, partition %d, offset %d): this one, and"
                " all others for which it raises, are not aggregated; correct the plugin, restart the workers, and run"
                " `faust -A sparkle_app rebuild`",
                type(plugin).__module__,
                type(error).__name__,
                reading.topic,
                reading.partition,
                reading.offset,
            )
        return None
