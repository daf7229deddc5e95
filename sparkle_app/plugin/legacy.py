"""Adapts packages for the earlier handler, with ``DataFrame`` and ``server.add_dataframe``, without changes to them.

Such a package generates its own row ids and may commit by itself, so it cannot detect duplicates. Therefore the handler
stores readings in a table of its own as well, and passes a reading to the package only if it is new in that table, in
the same transaction.
"""

import math
import re
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from sqlalchemy import JSON, Connection
from sqlalchemy.orm import Session, mapped_column

from sparkle_app.plugin_api import AggregatesTable, Base, Plugin, Reading, ReadingsTable, StoredReading


def adapt_legacy(module: ModuleType, name: str) -> Plugin | None:
    """The server half of a package for the earlier handler; None if the module is not one."""
    add = getattr(getattr(module, "server", module), "add_dataframe", None)
    return LegacyPlugin(name, add) if add and hasattr(module, "DataFrame") else None


class LegacyPlugin(Plugin):
    """Stores readings in a table of the handler, and new ones through the package as well.

    Arguments:
        name: NAME of the package, used in the names of the tables.
        add: ``add_dataframe(dt, hostname, key, value, session=…, config_id=…)``; dt is a naive
            datetime, the host's local time.
    """

    def __init__(self, name: str, add: Callable[..., Any]) -> None:
        prefix = re.sub(r"\W+", "_", name).lower()
        if f"{prefix}_readings" in Base.metadata.tables:
            # The package already uses that name.
            prefix += "_handler"
        self._add = add
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
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            for reading in readings:
                self._add(
                    reading.local_time,
                    reading.hostname,
                    reading.key,
                    reading.value,
                    session=session,
                    config_id=reading.config_id,
                )
            session.commit()
