"""Everything that the server half of a plugin needs to import (docs/plugins.md).

A plugin is a subclass of :class:`Plugin`, which overrides only what differs from the defaults: values are finite
numbers, stored in two tables of the plugin. :class:`StringPlugin` and :class:`JsonPlugin` are for other values.
"""

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.reading import Reading, StoredReading
from sparkle_app.plugin_api.numeric import InvalidValue
from sparkle_app.plugin_api.plugin import Plugin
from sparkle_app.plugin_api.values import JsonPlugin, StringPlugin
from sparkle_app.storage.columns import UtcDateTime
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.models import (
    AggregatesTable,
    Base,
    JsonReadingsTable,
    ReadingsTable,
    StringReadingsTable,
)

__all__ = [
    "AggregateRow",
    "AggregatesTable",
    "Base",
    "InvalidValue",
    "JsonPlugin",
    "JsonReadingsTable",
    "Plugin",
    "Reading",
    "ReadingsTable",
    "Statistics",
    "StoredReading",
    "StringPlugin",
    "StringReadingsTable",
    "UtcDateTime",
    "data_table",
]
