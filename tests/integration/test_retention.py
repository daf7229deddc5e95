"""Retention of a worker: old rows go, what comes too late is counted, and aggregates of days stay."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy.engine import make_url

from sparkle_app.model.retention import DAY
from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import EVERY_DATABASE, count, query
from tests.support.eventually import eventually
from tests.support.produce import produce
from tests.support.rows import store
from tests.support.worker import Worker, Workspace, run_command

# Kafka replaces the timestamps of records in topics that workers create.
pytestmark = pytest.mark.any_broker

SHORT = {"retention__readings": "1d", "retention__buckets": "1d", "retention__hours": "1d"}


class World:
    def __init__(self, broker: Broker, workspace: Workspace) -> None:
        self.broker = broker
        self.topic = workspace.topic
        self.collector = Collector(workspace.certs)

    def send(self, *values: float, days: int, record: bytes | None = None) -> bytes:
        """Records of some days ago, with the timestamps of that time."""
        at = datetime.now(UTC) - timedelta(days=days)
        local = at.replace(tzinfo=None)
        records = [
            record or self.collector.record("host", "Temperature", "k", value, local) for value in values
        ]
        produce(self.broker.bootstrap, self.topic, records, [int(at.timestamp() * 1000)] * len(records))
        return records[0]


@pytest.fixture
def world(broker: Broker, workspace: Workspace) -> World:
    return World(broker, workspace)


def metrics(worker: Worker, name: str) -> dict[str, float]:
    """Values other than 0 of a Prometheus metric, by the last label."""
    lines = requests.get(f"{worker.url}/metrics", timeout=10).text.splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if line.startswith(f"{name}{{"))
    return {labels.split('"')[-2]: float(value) for labels, value in samples if float(value)}


def aggregates(url: str) -> list[tuple[int, int]]:
    """Resolution and number of readings of each aggregate."""
    rows = query(
        url, 'SELECT resolution, "count" AS n FROM temperature_aggregates ORDER BY resolution, bucket_start'
        if not url.startswith("mysql")
        else "SELECT resolution, `count` AS n FROM temperature_aggregates ORDER BY resolution, bucket_start"
    )  # fmt: skip
    return [(row["resolution"], row["n"]) for row in rows]


@EVERY_DATABASE
def test_old_rows_go_and_what_comes_later_is_counted(
    world: World, start_worker: StartWorker, database_url: str
) -> None:
    first = start_worker(retention__interval_seconds=86_400)
    # Nothing is deleted before a reading of the present: it comes first, so that it is recorded with the others.
    world.send(4.0, days=0)
    old = world.send(1.0, 2.0, 3.0, days=3)
    eventually(lambda: aggregates(database_url), lambda found: sum(n for _, n in found) == 4)
    assert first.terminate() == 0
    worker = start_worker(retention__interval_seconds=1, **SHORT)
    # The present hour has not ended.
    eventually(lambda: aggregates(database_url), lambda found: found == [(60, 1), (DAY, 3)])
    assert count(database_url, "temperature_readings") == 1
    log = worker.process.log
    eventually(log.read_text, lambda found: "Temperature: retention deleted 5 rows" in found)
    world.send(9.0, days=3)
    # A redelivery, and a reading of the present.
    world.send(1.0, days=3, record=old)
    world.send(5.0, days=0)
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 2)
    eventually(lambda: aggregates(database_url), lambda found: sum(n for _, n in found) == 5)
    assert [n for resolution, n in aggregates(database_url) if resolution == DAY] == [3]
    assert metrics(worker, "sparkle_readings_expired_total") == {"late": 2}
    assert metrics(worker, "sparkle_retention_failures_total") == {}
    assert metrics(worker, "sparkle_retention_age_seconds")["Temperature"] < 60
    assert "older than the retention period" in log.read_text()


@EVERY_DATABASE
def test_the_command_says_what_goes_and_deletes_it(
    broker: Broker, workspace: Workspace, database_url: str
) -> None:
    now = datetime.now(UTC)
    at = (now - timedelta(days=3)).replace(hour=12, minute=0, second=0, microsecond=0)
    store(database_url, [("host", "k", float(n), at + timedelta(seconds=n)) for n in range(5)])
    environment = workspace.environment(broker.bootstrap, database_url, **SHORT)
    midnight = (now - timedelta(days=1)).strftime("%Y-%m-%dT00:00:00Z")
    if database_url.startswith("sqlite"):
        assert run_command(environment, "migrate").returncode == 0
    assert report(environment, "--dry-run")[1] == {
        "plugin": "Temperature",
        "deleted": False,
        "expired": [
            {"resolution": 0, "before": midnight, "rows": 5},
            {"resolution": 60, "before": midnight, "rows": 0},
            {"resolution": 3600, "before": midnight, "rows": 0},
        ],
    }
    assert count(database_url, "temperature_readings") == 5
    planned = run_command(environment, "retain", "--dry-run", "--plugin", "Temperature")
    assert planned.stdout.splitlines()[0] == f"Temperature: would delete 5 readings before {midnight}"
    done = run_command(environment, "retain")
    assert done.stdout.splitlines() == [
        "PU_Workload: 0 aggregates merged, 0 rows deleted",
        "Temperature: 0 aggregates merged, 5 rows deleted",
    ]
    assert (done.returncode, done.stderr) == (0, "")
    assert count(database_url, "temperature_readings") == 0
    assert report(environment)[1] == {"plugin": "Temperature", "merged": 0, "deleted": 0}


def report(environment: Mapping[str, str], *options: str) -> Any:
    done = run_command(environment, "retain", "--json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_wrong_usage_of_the_command(broker: Broker, workspace: Workspace, database_url: str) -> None:
    store(database_url, [])
    environment = workspace.environment(broker.bootstrap, database_url)
    done = run_command(environment, "retain", "--plugin", "Fan")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("--plugin: expected one of PU_Workload, Temperature, found Fan")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("shrinks", [True, False])
def test_the_file_shrinks_if_its_mode_allows_it(
    broker: Broker, workspace: Workspace, database_url: str, shrinks: bool
) -> None:
    file = Path(str(make_url(database_url).database))
    at = datetime.now(UTC) - timedelta(days=3)
    store(database_url, [("host", "k", 1.0, at) for _ in range(80_000)])
    if not shrinks:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA auto_vacuum=NONE")
            connection.execute("VACUUM")
    environment = workspace.environment(broker.bootstrap, database_url, **SHORT)
    before = file.stat().st_size
    done = run_command(environment, "retain")
    assert "80000 rows deleted" in done.stdout
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    after = file.stat().st_size
    if shrinks:
        assert done.stderr == ""
        assert after < before * 0.8
    else:
        assert done.stderr.strip().endswith(
            f"run once: sqlite3 {file} 'PRAGMA auto_vacuum=INCREMENTAL; VACUUM'"
        )
        assert after >= before
