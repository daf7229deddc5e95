"""Hosts in other time zones, and hosts whose clocks are wrong."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import query
from tests.support.eventually import eventually
from tests.support.produce import produce
from tests.support.worker import Workspace


def instant(value: Any) -> datetime:
    """A time from SQL as an aware datetime: SQLite returns text, PostgreSQL a datetime."""
    at: datetime = datetime.fromisoformat(value) if isinstance(value, str) else value
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def test_times_are_utc_in_sql_and_wrong_clocks_are_flagged(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    collector = Collector(workspace.certs)
    start_worker()
    now = datetime.now(UTC).replace(tzinfo=None)
    clocks = {
        "utc": timedelta(),
        "moscow": timedelta(hours=3),
        "kathmandu": timedelta(hours=5, minutes=45),
        "newfoundland": timedelta(hours=-3, minutes=-30),
        "kiritimati": timedelta(hours=14),
        "fast by 20 minutes": timedelta(minutes=20),
        "since 1970": datetime(2000, 1, 5) - now,
    }
    records = [
        collector.record(host, "Temperature", "k", 20.0, now + clock) for host, clock in clocks.items()
    ]
    produce(broker.bootstrap, workspace.topic, records)
    rows = eventually(
        lambda: query(database_url, "SELECT * FROM temperature_readings"),
        lambda found: len(found) >= len(clocks),
    )
    by_host = {row["hostname"]: row for row in rows}
    for host in clocks:
        row = by_host[host]
        wrong = host in ("fast by 20 minutes", "since 1970")
        assert bool(row["clock_trusted"]) is not wrong, host
        observed = instant(row["observed_at"])
        assert observed == (instant(row["received_at"]) if wrong else now.replace(tzinfo=UTC)), host
