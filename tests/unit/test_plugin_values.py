"""Plugins whose values are not numbers."""

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from sqlalchemy import Integer, Numeric
from sqlalchemy.orm import mapped_column

from sparkle_app.ingest.decryption_pool import validated
from sparkle_app.model.errors import ConfigurationError, InvalidRecordError, Reason
from sparkle_app.plugin.value_types import check_value_type
from sparkle_app.plugin_api import (
    InvalidValue,
    JsonPlugin,
    JsonReadingsTable,
    Plugin,
    Reading,
    ReadingsTable,
    StoredReading,
    StringPlugin,
    StringReadingsTable,
)
from sparkle_app.plugin_api.numeric import number_of, stored_number

READING = Reading(bytes(16), 1, "host", "Some", "key", "clean", 0, 0, True, "telemetry", 0, 0)


class Numbers(ReadingsTable):
    __tablename__ = "values_numbers"


class Strings(StringReadingsTable):
    __tablename__ = "values_strings"


class Documents(JsonReadingsTable):
    __tablename__ = "values_documents"


class Decimals(ReadingsTable):
    __tablename__ = "values_decimals"
    value = mapped_column(Numeric(12, 3))


class Integers(ReadingsTable):
    __tablename__ = "values_integers"
    value = mapped_column(Integer)


class Raid(StringPlugin):
    states = ("clean", "failed")


def stored(value: Any) -> StoredReading:
    return StoredReading(bytes(16), 1, "host", "key", value, 0, 0, True, "telemetry", 0, 0)


def test_a_string_plugin_accepts_strings_and_does_not_aggregate_them() -> None:
    plugin = StringPlugin()
    assert plugin.validate("md0", "чистый") == "чистый"
    assert plugin.numeric_value(stored("чистый")) is None


@pytest.mark.parametrize(
    ("plugin", "value", "expected"),
    [
        (StringPlugin(), 1, "expected a string, found a number"),
        (StringPlugin(), None, "expected a string, found null"),
        (StringPlugin(), True, "expected a string, found a boolean"),
        (StringPlugin(), {"a": 1}, "expected a string, found an object"),
        (StringPlugin(), "a\0b", "expected a string without NUL"),
        (Raid(), "odd", "expected one of clean, failed"),
    ],
)
def test_other_values_are_invalid(plugin: Plugin, value: Any, expected: str) -> None:
    with pytest.raises(InvalidValue, match=expected):
        plugin.validate("key", value)


@pytest.mark.parametrize("value", [1, "a", None, True, [1, "b"], {"a": {"b": 1.5}}])
def test_a_json_plugin_accepts_any_value_and_does_not_aggregate_it(value: Any) -> None:
    plugin = JsonPlugin()
    assert plugin.validate("key", value) == value
    assert plugin.numeric_value(stored(value)) is None


def numbered(result: Any) -> Plugin:
    """A plugin whose `numeric_value` returns this."""
    plugin: Plugin = type("Numbered", (StringPlugin,), {"numeric_value": lambda _self, _reading: result})()
    return plugin


@pytest.mark.parametrize(
    ("result", "number"),
    [(True, 1.0), (False, 0.0), (Decimal("1.5"), 1.5), (3, 3.0), (Fraction(1, 4), 0.25), (None, None)],
)
def test_any_finite_real_number_is_aggregated_as_a_float(result: Any, number: float | None) -> None:
    found = number_of(numbered(result), stored("clean"))
    assert (type(found), found) == (type(number), number)
    assert validated(READING, {"Some": numbered(result)}) == READING


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("1", "expected numeric_value to return a number, found a string"),
        (1j, "expected numeric_value to return a number, found another type"),
        (10**400, "expected a finite numeric value"),
        (math.inf, "expected a finite numeric value"),
        (Decimal("NaN"), "expected a finite numeric value"),
        (Decimal("sNaN"), "expected a finite numeric value"),
    ],
)
def test_a_reading_without_a_valid_number_is_invalid(result: Any, expected: str) -> None:
    with pytest.raises(InvalidRecordError, match=expected) as error:
        validated(READING, {"Some": numbered(result)})
    assert error.value.reason is Reason.INVALID_VALUE
    # It was valid when it was stored.
    assert stored_number(numbered(result), stored("clean")) is None


def with_tables(base: type[Plugin], table: type[ReadingsTable]) -> Plugin:
    plugin: Plugin = type("Some", (base,), {"DataFrame": table})()
    return plugin


class Anything(Plugin):
    def validate(self, key: str, value: Any) -> Any:
        return value


class Choices(Plugin):
    def validate(self, key: str, value: Any) -> Any:
        return {"on": 1.0, "off": 0.0}[value]


class Whole(Plugin):
    minimum, maximum = -5, 5

    def validate(self, key: str, value: Any) -> Any:
        return round(super().validate(key, value))


class Exact(Plugin):
    def validate(self, key: str, value: Any) -> Any:
        return Decimal(str(super().validate(key, value)))


class Narrow(Plugin):
    minimum, maximum = Decimal("0.75"), Fraction(9, 10)  # type: ignore[assignment]


class Leaving(Plugin):
    def validate(self, key: str, value: Any) -> Any:
        if not isinstance(value, float):
            raise SystemExit
        return value


class OwnTables(Anything):
    def store_readings(self, connection: Any, readings: Any) -> Any:
        return [reading.as_stored() for reading in readings]


@pytest.mark.parametrize(
    ("base", "table"),
    [
        (Plugin, Numbers),
        (Whole, Integers),
        (Exact, Decimals),
        (Narrow, Numbers),
        (Leaving, Numbers),
        (StringPlugin, Strings),
        (Raid, Strings),
        (JsonPlugin, Documents),
        (Anything, Documents),
        (Choices, Numbers),
        (OwnTables, Numbers),
    ],
)
def test_a_table_that_fits_is_accepted(base: type[Plugin], table: type[ReadingsTable]) -> None:
    check_value_type(with_tables(base, table), "plugin Some")


@pytest.mark.parametrize(
    ("base", "table", "found"),
    [
        (Anything, Numbers, "a string for 'text'"),
        (StringPlugin, Numbers, "a string for 'text'"),
        (JsonPlugin, Numbers, "a string for 'text'"),
        (JsonPlugin, Strings, "a number for 0.0"),
        (Plugin, Strings, "a number for 0.0"),
        (Plugin, Integers, "0.5 for 0.5"),
        (Plugin, Decimals, "0.5 for 0.5"),
    ],
)
def test_a_table_that_cannot_store_the_values_is_an_error(
    base: type[Plugin], table: type[ReadingsTable], found: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_value_type(with_tables(base, table), "plugin Some")
    assert caught.value.where == "plugin Some"
    assert caught.value.found == found
    assert table.__tablename__ in str(caught.value.expected)
