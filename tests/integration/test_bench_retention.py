"""What the benchmark of retention stores before it begins."""

import time

import pytest
from sqlalchemy.engine import make_url

from benchmarks.retention import HOSTS, METRICS, fill
from sparkle_app.audit.auditor import Auditor
from sparkle_app.model.retention import DAY
from sparkle_app.model.time import EARLIEST, LATEST, span
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.storage.engine import make_engine, read_transaction
from tests.support.rows import store
from tests.support.worker import PROJECT

ROWS = 4_800


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_old_readings_are_stored_with_their_aggregates(database_url: str) -> None:
    store(database_url, [])
    engine = make_engine(make_url(database_url))
    hosts = fill(engine, ROWS)
    plugin = load_plugins(PROJECT / "plugins").installed["Temperature"].plugin
    with read_transaction(engine) as connection:
        stored = list(plugin.load_readings(connection, hosts, EARLIEST, LATEST))
    assert len({each.id for each in stored}) == ROWS
    assert len({(each.hostname, each.key) for each in stored}) == METRICS * HOSTS
    first, last = stored[0].observed_at, stored[-1].observed_at
    midnight = int(time.time()) // DAY * DAY
    assert first == span(midnight - 2 * DAY)
    # All of them are older than a day.
    assert span(midnight - DAY - 60) < last < span(midnight - DAY)
    auditor = Auditor("Temperature", plugin, engine, 60)
    pages = list(auditor.compare(auditor.scope(EARLIEST, LATEST)))
    assert [each for page in pages for each in page.differences] == []
    assert sum(page.readings for page in pages) == ROWS
    engine.dispose()
