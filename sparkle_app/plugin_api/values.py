"""Base classes of plugins whose values are not numbers. The values are stored, and not aggregated by default."""

from collections.abc import Collection
from typing import Any

from sparkle_app.model.reading import StoredReading
from sparkle_app.plugin_api.numeric import InvalidValue, kind_of
from sparkle_app.plugin_api.plugin import Plugin


class StringPlugin(Plugin):
    """Values are strings, such as the state of a device. Its readings are a :class:`StringReadingsTable`."""

    states: Collection[str] = ()
    """The valid values; empty: all strings."""

    def validate(self, key: str, value: Any) -> Any:
        """Requires a string without NUL, and one of ``states`` if there are any."""
        if not isinstance(value, str):
            raise InvalidValue(f"expected a string, found {kind_of(value)}")
        if self.states and value not in self.states:
            raise InvalidValue(f"expected one of {', '.join(sorted(self.states))}")
        if "\0" in value:
            raise InvalidValue("expected a string without NUL")
        return value

    def numeric_value(self, reading: StoredReading) -> float | None:
        """None: the reading is not aggregated."""
        return None


class JsonPlugin(Plugin):
    """Values are objects or other JSON values. Its readings are a :class:`JsonReadingsTable`.

    To aggregate a number in the value, override :meth:`numeric_value`.
    """

    def validate(self, key: str, value: Any) -> Any:
        """Accepts every JSON value."""
        return value

    def numeric_value(self, reading: StoredReading) -> float | None:
        """None: the reading is not aggregated."""
        return None
