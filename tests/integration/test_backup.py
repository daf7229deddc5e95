"""The commands of docs/backup.md: a backup under a writing worker, and its completion with what Kafka retains."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import EVERY_DATABASE, count
from tests.support.eventually import eventually
from tests.support.mariadb import MariadbServer
from tests.support.postgres import PostgresServer
from tests.support.produce import consume_all, produce
from tests.support.worker import PROJECT, Workspace, run_command

# The embedded broker does not report offsets by timestamp, and a restarted worker needs half a minute to rejoin.
pytestmark = pytest.mark.kafka

NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MariaDB"}


def commands(section: str, database: str) -> str:
    """The commands of a section of the page for a database."""
    document = (PROJECT / "docs" / "backup.md").read_text("utf-8")
    found = re.search(
        rf"## {section}\n.*?\n(?:### )?{NAMES[database]}\b.*?\n```\n(.+?)```", document, re.DOTALL
    )
    assert found, section
    return found[1]


def run(script: str, folder: Path, environment: Mapping[str, str], names: Mapping[str, str]) -> None:
    """Run the commands of the page, with the names of this test."""
    for name, own in names.items():
        assert name in script, script
        script = script.replace(name, own)
    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), script + done.stdout + done.stderr


def faust(environment: dict[str, str], *arguments: str) -> str:
    """The output of a command, which must succeed."""
    done = run_command(environment, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clients(request: pytest.FixtureRequest, database: str, folder: Path) -> dict[str, str]:
    """The environment of the database's client programs."""
    if database == "sqlite":
        return {}
    name = "postgres" if database == "postgresql" else "mariadb"
    server: PostgresServer | MariadbServer = request.getfixturevalue(name)
    return server.clients(folder)


@EVERY_DATABASE
def test_a_backup_under_a_writing_worker_is_completed_from_kafka(
    broker: Broker,
    database_url: str,
    workspace: Workspace,
    start_worker: StartWorker,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    url = make_url(database_url)
    database = url.get_backend_name()
    own = Path(str(url.database))
    names = {"sparkle": str(own)}
    if database == "sqlite":
        names = {"data/sparkle.sqlite3": str(own)}
    environment = clients(request, database, tmp_path)
    collector = Collector(workspace.certs)
    worker = start_worker()
    sent = 0

    def send(readings: int) -> None:
        nonlocal sent
        records = [
            collector.record(f"host-{n % 5}", "Temperature", "k", 20.0 + n % 7) for n in range(readings)
        ]
        produce(broker.bootstrap, workspace.topic, [*records, b"not a record"])
        sent += readings

    def stored(number: int) -> None:
        eventually(lambda: count(database_url, "temperature_readings"), lambda found: found >= number)

    send(100)
    stored(100)
    send(4_000)
    stored(101)
    run(commands("Backup", database), tmp_path, environment, names)
    stored(sent)
    send(40)
    stored(sent)
    assert worker.terminate() == 0

    if database == "sqlite":
        names["data/damaged.sqlite3"] = str(own.with_name("damaged.sqlite3"))
    run(commands("Restore", database), tmp_path, environment, names)
    restored = count(database_url, "temperature_readings")
    # The worker was storing records when the backup was made.
    assert 100 < restored < 4_100
    command = workspace.environment(broker.bootstrap, database_url)
    assert "records will be read again" in faust(command, "reset-offsets")
    worker = start_worker()
    refused = run_command(command, "reset-offsets")
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        f"consumer group {workspace.app_id}: expected no members, found 1; stop all workers"
    )
    stored(sent)
    send(10)
    stored(sent)
    faust(command, "rebuild")
    assert f"Temperature: {sent} readings" in faust(command, "verify")
    # Invalid records were processed twice.
    letters = consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters")
    assert len({letter.key for letter in letters}) == 4
    assert worker.terminate() == 0
    # Nothing is set forward.
    planned = json.loads(faust(command, "reset-offsets", "--since", "2090-01-01", "--dry-run", "--json"))
    assert [each["records"] for each in planned] == [0] * 4
    everything = json.loads(faust(command, "reset-offsets", "--since", "2020-01-01", "--dry-run", "--json"))
    assert sum(each["records"] for each in everything) == sent + 4
