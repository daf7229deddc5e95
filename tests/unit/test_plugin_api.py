"""Renamed methods of a plugin can be overridden and called under both names."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Connection

from sparkle_app.plugin_api import Plugin, Reading, StoredReading

READING = StoredReading(bytes(16), 1, "host", "key", 20.0, 0, 0, True, "telemetry", 0, 0)


def plus(value: float | None, more: float) -> float:
    assert value is not None
    return value + more


class Unchanged(Plugin):
    pass


class New(Plugin):
    def numeric_value(self, reading: StoredReading) -> float:
        return plus(super().numeric_value(reading), 1)


class Old(Plugin):
    def measure(self, reading: StoredReading) -> float:
        return plus(super().measure(reading), 2)

    def stored_first(self, connection: Connection, readings: Sequence[Reading]) -> None:
        raise NotImplementedError("called")


class OldOfNew(New):
    def measure(self, reading: StoredReading) -> float:
        return plus(super().measure(reading), 4)


class NewOfOld(Old):
    def numeric_value(self, reading: StoredReading) -> float:
        return plus(super().numeric_value(reading), 8)


class OldMixin:
    """Not a subclass of Plugin."""

    def measure(self, reading: StoredReading) -> float:
        return plus(super().measure(reading), 16)  # type: ignore[misc]


class NewMixin:
    def numeric_value(self, reading: StoredReading) -> float:
        return plus(super().numeric_value(reading), 32)  # type: ignore[misc]


class WithOldMixin(OldMixin, Plugin):
    pass


class WithNewMixin(NewMixin, Plugin):
    pass


class NewMixinOverOld(NewMixin, Old):
    pass


class OfTwoPlugins(Unchanged, WithOldMixin):
    pass


class OverriddenMixin(WithOldMixin):
    def numeric_value(self, reading: StoredReading) -> float:
        return plus(super().numeric_value(reading), 64)


@pytest.mark.parametrize(
    ("kind", "value", "deprecated"),
    [
        (Plugin, 20, set()),
        (New, 21, set()),
        (Old, 22, {"measure", "stored_first"}),
        (OldOfNew, 25, {"measure"}),
        (NewOfOld, 30, {"measure", "stored_first"}),
        (WithOldMixin, 36, {"measure"}),
        (WithNewMixin, 52, set()),
        (NewMixinOverOld, 54, {"measure", "stored_first"}),
        (OfTwoPlugins, 36, {"measure"}),
        (OverriddenMixin, 100, {"measure"}),
    ],
)
def test_both_names_refer_to_the_same_method(kind: type[Plugin], value: float, deprecated: set[str]) -> None:
    plugin: Any = kind()
    assert plugin.numeric_value(READING) == plugin.measure(READING) == value
    assert set(kind.deprecated) == deprecated


def test_on_inserted_calls_a_method_with_the_old_name() -> None:
    for kind in (Old, NewOfOld):
        with pytest.raises(NotImplementedError, match="called"):
            kind().on_inserted(None, [])  # type: ignore[arg-type]
