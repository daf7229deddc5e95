"""The commands of docs/operations.md that complete a restored backup with the records that Kafka retains."""

import re
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count
from tests.support.eventually import eventually
from tests.support.kafka import consumer_groups
from tests.support.produce import produce
from tests.support.worker import PROJECT, Workspace, run_command

# The embedded broker does not report offsets by timestamp, and a restarted worker needs half a minute to rejoin.
pytestmark = pytest.mark.kafka


def reset_offsets(bootstrap: str, workspace: Workspace, to: float) -> None:
    """Run the command of docs/operations.md that resets the offsets, with the names and the time of this test."""
    document = (PROJECT / "docs" / "operations.md").read_text("utf-8")
    found = re.search(r"```\n(kafka-consumer-groups.sh .+?--to-datetime.+?)```", document, re.DOTALL)
    assert found
    when = datetime.fromtimestamp(to, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    script = found[1]
    for name, own in {
        "kafka:9092": bootstrap,
        "sparkle": workspace.app_id,
        "telemetry": workspace.topic,
        "2026-11-23T12:00:00.000": when,
    }.items():
        assert f" {name}" in script
        script = script.replace(f" {name}", f" {own}")
    consumer_groups(script)


def copy(source: Path, target: Path) -> None:
    """Copy a database as the commands .backup and .restore of SQLite's shell do."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_restored_backup_is_completed_from_kafka(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    collector = Collector(workspace.certs)
    database = Path(database_url.removeprefix("sqlite:///"))
    environment = workspace.environment(broker.bootstrap, database_url)
    backup = database.with_name("backup")
    begun = time.time()
    worker = start_worker()

    def send(readings: int, expected: int) -> None:
        records = [
            collector.record(f"host-{n % 5}", "Temperature", "k", 20.0 + n % 7) for n in range(readings)
        ]
        produce(broker.bootstrap, workspace.topic, records)
        eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == expected)

    send(60, 60)
    assert worker.terminate() == 0
    copy(database, backup)
    worker = start_worker()
    send(40, 100)
    assert worker.terminate() == 0
    copy(backup, database)
    assert count(database_url, "temperature_readings") == 60

    reset_offsets(broker.bootstrap, workspace, begun)
    worker = start_worker()
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found >= 100)
    send(10, 110)
    rebuilt = run_command(environment, "rebuild")
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
    verified = run_command(environment, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "Temperature: 110 readings" in verified.stdout
