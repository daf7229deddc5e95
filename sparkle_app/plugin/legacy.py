"""Packages for the earlier handler: a ``DataFrame`` and ``server.add_dataframe``, used as they are.

Such a package gives each row an id of its own and may commit by itself, so it cannot know what it has stored before.
The handler's own table of readings does: a reading goes to the package when it is stored there for the first time, in
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
    """The server half that such a package stands for; None when it is no such package."""
    add = getattr(getattr(module, "server", module), "add_dataframe", None)
    return LegacyPlugin(name, add) if add and hasattr(module, "DataFrame") else None


class LegacyPlugin(Plugin):
    """Stores readings in a table of the handler, and each new one through the package.

    Arguments:
        name: NAME of the package; the tables are called after it.
        add: ``add_dataframe(dt, hostname, key, value, session=…, config_id=…)``; dt is the host's local time, naive.
    """

    def __init__(self, name: str, add: Callable[..., Any]) -> None:
        prefix = re.sub(r"\W+", "_", name).lower()
        if f"{prefix}_readings" in Base.metadata.tables:
            # The package's own.
            prefix += "_handler"
        self._add = add
        self.DataFrame = type(
            f"{name} readings",
            (ReadingsTable,),
            # Any JSON: the package alone knows what is right.
            {"__tablename__": f"{prefix}_readings", "value": mapped_column(JSON)},
        )
        self.Aggregates = type(
            f"{name} aggregates", (AggregatesTable,), {"__tablename__": f"{prefix}_aggregates"}
        )

    def validate(self, key: str, value: Any) -> Any:
        """Anything; what the package refuses becomes a dead letter when it is stored."""
        return value

    def numeric_value(self, reading: StoredReading) -> float | None:
        """Finite numbers are aggregated, anything else is only stored."""
        value = reading.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        try:
            return float(value) if math.isfinite(value) else None
        except OverflowError:
            return None

    def on_inserted(self, connection: Connection, readings: Sequence[Reading]) -> None:
        """Give them to the package; its commits end savepoints, not the transaction."""
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
