"""Whether the rows of a plugin are in its default tables, which it must declare then, or its own methods find them."""

from typing import Any

from sqlalchemy import Table

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin_api import AggregatesTable, Plugin, ReadingsTable
from sparkle_app.storage.models import own_columns

_USERS = {
    "DataFrame": (ReadingsTable, ("store_readings", "load_readings")),
    "Aggregates": (AggregatesTable, ("store_aggregates", "load_aggregates", "count_aggregates")),
}
"""The models of a plugin: their base classes, and the methods of a worker that use them."""


def has_default_readings(plugin: Plugin) -> bool:
    """Whether the stored readings are the rows of the table ``plugin.DataFrame``."""
    return type(plugin).load_readings is Plugin.load_readings


def has_default_aggregates(plugin: Plugin) -> bool:
    """Whether the aggregates are the rows of the table ``plugin.Aggregates``."""
    return type(plugin).load_aggregates is Plugin.load_aggregates


def stores_default_readings(plugin: Plugin) -> bool:
    """Whether the readings that a plugin stores are the rows of the table ``plugin.DataFrame``."""
    return has_default_readings(plugin) and type(plugin).store_readings is Plugin.store_readings


def counts_default_aggregates(plugin: Plugin) -> bool:
    """Whether the aggregates that a plugin counts are the rows of the table ``plugin.Aggregates``."""
    return has_default_aggregates(plugin) and type(plugin).count_aggregates is Plugin.count_aggregates


def check_tables(plugin: Plugin, where: str) -> None:
    """Check that a plugin declares the tables that its methods use, and that these methods can insert rows.

    Raises:
        ConfigurationError: if a table is missing, is no SQL model, or has a column that every row would lack.
    """
    for name, (base, methods) in _USERS.items():
        inherited = [each for each in methods if getattr(type(plugin), each) is getattr(Plugin, each)]
        model: Any = getattr(plugin, name, None)
        if not inherited:
            continue
        if not _is_model(model, base):
            raise ConfigurationError(
                where,
                expected=f"`{name}`, a subclass of {base.__name__} with a __tablename__: {', '.join(inherited)} use it",
                found="none" if model is None else repr(model)[:100],
                hint="declare it, or override these methods: docs/plugins.md",
            )
        # The first of the methods inserts rows.
        if methods[0] in inherited:
            _check_own_columns(model.__table__, methods[0], where)


def _check_own_columns(view: Table, method: str, where: str) -> None:
    for name in own_columns(view):
        column = view.c[name]
        if not column.nullable and column.default is None and column.server_default is None:
            raise ConfigurationError(
                where,
                expected=f"columns of {view.name} with a default, or that may be NULL: {method} inserts the others",
                found=f"{name}, which is NOT NULL",
                hint="declare it with nullable=True or server_default: docs/plugins.md",
            )


def _is_model(model: Any, base: type) -> bool:
    return (
        isinstance(model, type)
        and issubclass(model, base)
        and isinstance(getattr(model, "__table__", None), Table)
    )
