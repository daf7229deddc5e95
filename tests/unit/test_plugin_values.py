"""Plugins whose values are not numbers."""

from typing import Any

import pytest
from sqlalchemy import Numeric
from sqlalchemy.orm import mapped_column

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.value_types import check_value_type
from sparkle_app.plugin_api import (
    InvalidValue,
    JsonPlugin,
    JsonReadingsTable,
    Plugin,
    ReadingsTable,
    StoredReading,
    StringPlugin,
    StringReadingsTable,
)


class Numbers(ReadingsTable):
    __tablename__ = "values_numbers"


class Strings(StringReadingsTable):
    __tablename__ = "values_strings"


class Documents(JsonReadingsTable):
    __tablename__ = "values_documents"


class Decimals(ReadingsTable):
    __tablename__ = "values_decimals"
    value = mapped_column(Numeric(12, 3))


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


def with_tables(base: type[Plugin], table: type[ReadingsTable]) -> Plugin:
    plugin: Plugin = type("Some", (base,), {"DataFrame": table})()
    return plugin


class Anything(Plugin):
    def validate(self, key: str, value: Any) -> Any:
        return value


class Choices(Plugin):
    def validate(self, key: str, value: Any) -> Any:
        return {"on": 1.0, "off": 0.0}[value]


class OwnTables(Anything):
    def store_readings(self, connection: Any, readings: Any) -> Any:
        return [reading.as_stored() for reading in readings]


@pytest.mark.parametrize(
    ("base", "table"),
    [
        (Plugin, Numbers),
        (Plugin, Decimals),
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
