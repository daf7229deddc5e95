"""Whether the rows of a plugin are in its default tables, or its own methods find them elsewhere."""

from sparkle_app.plugin_api import Plugin


def has_default_readings(plugin: Plugin) -> bool:
    """Whether the stored readings are the rows of the table ``plugin.DataFrame``."""
    return type(plugin).load_readings is Plugin.load_readings


def has_default_aggregates(plugin: Plugin) -> bool:
    """Whether the aggregates are the rows of the table ``plugin.Aggregates``."""
    return type(plugin).load_aggregates is Plugin.load_aggregates
