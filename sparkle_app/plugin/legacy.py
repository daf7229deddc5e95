"""Adapts packages for the earlier handler, with ``DataFrame`` and ``server.add_dataframe``, without changes to them.

Such a package generates its own row ids and may commit by itself, so it cannot detect duplicates. Therefore the handler
stores readings in a table of its own as well, and passes a reading to the package only if it is new in that table, in
the same transaction.
"""

import hashlib
import inspect
import math
import re
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from sqlalchemy import JSON, Connection
from sqlalchemy.orm import Session, mapped_column

from sparkle_app.kafka.topology import legal_name
from sparkle_app.plugin_api import AggregatesTable, Base, Plugin, Reading, ReadingsTable, StoredReading

_connection: ContextVar[Connection] = ContextVar("connection")
_config_id: ContextVar[int] = ContextVar("config_id")


def create_session() -> Session:
    """A session in the transaction in which ``add_dataframe`` is called. Its commit ends a savepoint.

    Raises:
        LookupError: outside of ``add_dataframe``.
    """
    return Session(_connection.get(), join_transaction_mode="create_savepoint")


def current_config_id() -> int:
    """The config id of the reading that is being stored.

    Raises:
        LookupError: outside of ``add_dataframe``.
    """
    return _config_id.get()


def adapt_legacy(module: ModuleType, name: str, max_name: int) -> Plugin | None:
    """The server half of a package for the earlier handler; None if the module is not one.

    Arguments:
        max_name: how many characters the name of a table may have.
    """
    add = getattr(getattr(module, "server", module), "add_dataframe", None)
    return LegacyPlugin(name, add, max_name) if add and hasattr(module, "DataFrame") else None


class LegacyPlugin(Plugin):
    """Stores readings in a table of the handler, and new ones through the package as well.

    Arguments:
        name: NAME of the package, used in the names of the tables.
        add: ``add_dataframe(dt, hostname, key, value, session=…, config_id=…)``; dt is a naive
            datetime, the host's local time.
        max_name: how many characters the name of a table may have.
    """

    def __init__(self, name: str, add: Callable[..., Any], max_name: int) -> None:
        prefix = _free_prefix(re.sub(r"\W+", "_", legal_name(name)).lower(), max_name)
        self._add = add
        parameters = inspect.signature(add).parameters
        takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        # Some packages open their own sessions, or have no use for the config id.
        self._options = {name for name in ("session", "config_id") if takes_any or name in parameters}
        self.DataFrame = type(
            f"{name} readings",
            (ReadingsTable,),
            # Any JSON value: only the package can validate it.
            {"__tablename__": f"{prefix}_readings", "value": mapped_column(JSON)},
        )
        self.Aggregates = type(
            f"{name} aggregates", (AggregatesTable,), {"__tablename__": f"{prefix}_aggregates"}
        )

    def validate(self, key: str, value: Any) -> Any:
        """Accepts any value. If the package rejects it when it is stored, the reading becomes a dead letter."""
        return value

    def numeric_value(self, reading: StoredReading) -> float | None:
        """Finite numbers are aggregated; other values are only stored."""
        value = reading.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        try:
            return float(value) if math.isfinite(value) else None
        except OverflowError:
            return None

    def on_inserted(self, connection: Connection, readings: Sequence[Reading]) -> None:
        """Pass the readings to the package. A commit in the package ends a savepoint, not the transaction."""
        token = _connection.set(connection)
        try:
            with create_session() as session:
                for reading in readings:
                    _config_id.set(reading.config_id)
                    options = {"session": session, "config_id": reading.config_id}
                    self._add(
                        reading.local_time,
                        reading.hostname,
                        reading.key,
                        reading.value,
                        **{name: value for name, value in options.items() if name in self._options},
                    )
                session.commit()
        finally:
            _connection.reset(token)


def _free_prefix(prefix: str, max_name: int) -> str:
    """The prefix of the handler's tables; another one if the package uses these names itself, or they are too long."""
    names = [f"{prefix}_{rows}{stored}" for rows in ("readings", "aggregates") for stored in ("", "_data")]
    if any(name in Base.metadata.tables for name in names):
        prefix = f"{prefix}_handler"
    longest = max_name - len("_aggregates_data")
    if len(prefix) <= longest:
        return prefix
    digits = hashlib.sha256(prefix.encode()).hexdigest()[:8]
    return f"{prefix[: longest - 9]}_{digits}"
