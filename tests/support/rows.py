"""Stores readings in SQL as a worker does, without a worker."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy.engine import make_url

from sparkle_app.model.time import micros
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.plugin_api import Base, Reading
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.hosts import Host
from sparkle_app.storage.models import tables_of
from tests.support.worker import PROJECT


def store(
    url: str, readings: Iterable[tuple[str, str, float, datetime]], delay: timedelta = timedelta(0)
) -> None:
    """Create the plugins' tables, and store readings of Temperature: hostname, metric, value and event time.

    Arguments:
        delay: from event time to the time at which they were received.
    """
    plugins = {name: each.plugin for name, each in load_plugins(PROJECT / "plugins").installed.items()}
    models = [model for each in plugins.values() for model in (each.DataFrame, each.Aggregates)]
    engine = make_engine(make_url(url))
    Base.metadata.create_all(engine, tables=tables_of(Host, *models))
    rows = [
        Reading(
            id=uuid4().bytes,
            config_id=1,
            hostname=hostname,
            plugin="Temperature",
            key=metric,
            value=value,
            observed_at=micros(at),
            received_at=micros(at + delay),
            clock_trusted=True,
            topic="t",
            partition=0,
            offset=offset,
        )
        for offset, (hostname, metric, value, at) in enumerate(readings)
    ]
    with engine.begin() as connection:
        plugins["Temperature"].store_readings(connection, rows)
    engine.dispose()
