"""A worker whose clock steps: windows are right or answered with 503, and nothing is lost."""

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sparkle_app.config.sections import AggregatesSettings
from sparkle_app.kafka.topology import changelog_topic, dead_letter_topic, samples_topic
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import query
from tests.support.eventually import eventually
from tests.support.kafka import KafkaBroker
from tests.support.produce import consume_all, create_topic, produce
from tests.support.stepping_worker import command
from tests.support.worker import Worker, Workspace, run_command

PATH = "/api/v1/plugins/Temperature/hosts/web-1?window=3600"
HOURS = "7200"
READINGS = 55


@pytest.fixture
def offset(tmp_path: Path) -> Path:
    return tmp_path / "offset"


def start(broker: Broker, workspace: Workspace, url: str, offset: Path, steady: float) -> Worker:
    environment = workspace.environment(broker.bootstrap, url)
    worker = Worker(
        {**environment, "CLOCK_OFFSET": str(offset), "STEADY_SECONDS": str(steady)},
        workspace.folder / "worker-1.log",
        command=command(),
    )
    worker.start()
    worker.wait_ready(90)
    return worker


def send(broker: Broker, workspace: Workspace, collector: Collector, minutes: range) -> None:
    """A reading of each of the minutes before now."""
    now = datetime.now()
    times = [now - timedelta(minutes=minute) for minute in minutes]
    records = [collector.record("web-1", "Temperature", "core", 20.0, when) for when in times]
    produce(broker.bootstrap, workspace.topic, records, [int(when.timestamp() * 1000) for when in times])


def counted(answer: tuple[int, Any]) -> tuple[int, int | None]:
    """The status, and the number of readings in the window."""
    status, body = answer
    return status, body["metrics"]["core"]["count"] if status == 200 else None


def create_topics(broker: Broker, workspace: Workspace) -> None:
    """The plugin topic, and the worker's own topics as an earlier version created them."""
    create_topic(broker.bootstrap, workspace.topic, 1, message_timestamp_type="CreateTime")
    large: dict[str, str] = {"max_message_bytes": str(16 * 1024 * 1024)}
    create_topic(broker.bootstrap, dead_letter_topic(workspace.app_id), 4, cleanup_policy="compact", **large)
    for name in ("Temperature", "PU_Workload"):
        create_topic(broker.bootstrap, samples_topic(workspace.app_id, name), 4, **large)
        changelog = changelog_topic(workspace.app_id, name, AggregatesSettings().bucket_seconds)
        create_topic(broker.bootstrap, changelog, 4, cleanup_policy="compact", **large)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_clock_step_that_is_undone_costs_nothing(
    broker: Broker, database_url: str, workspace: Workspace, offset: Path
) -> None:
    create_topics(broker, workspace)
    collector = Collector(workspace.certs)
    worker = start(broker, workspace, database_url, offset, 60)
    try:
        send(broker, workspace, collector, range(READINGS))
        eventually(lambda: counted(worker.get(PATH)), lambda found: found == (200, READINGS))
        offset.write_text(HOURS)
        status, problem = worker.get(PATH)
        assert (status, "clock" in problem["detail"]) == (503, True)
        # Kafka refuses timestamps that are hours ahead in topics with CreateTime.
        send(broker, workspace, collector, range(5))
        produce(broker.bootstrap, workspace.topic, [b"not JSON"])
        statement = 'SELECT sum("count") AS n FROM temperature_aggregates'
        eventually(lambda: query(database_url, statement)[0]["n"], lambda n: n == READINGS + 5)
        letters = eventually(lambda: consume_all(broker.bootstrap, dead_letter_topic(workspace.app_id)), bool)
        assert len(letters) == 1
        assert worker.get(PATH)[0] == 503
        offset.unlink()
        assert counted(worker.get(PATH)) == (200, READINGS + 5)
        worker.process.wait_until(worker.ready, "200 from /health/ready", 5)
    finally:
        worker.close()
    log = worker.process.log.read_text()
    assert log.count("the system clock jumped by +7200 s") == 1
    assert log.count("the system clock was corrected after") == 1
    if isinstance(broker, KafkaBroker):
        # One line for each topic: dead letters, samples and changelog.
        assert log.count("the broker rejected the timestamp of this machine's clock") == 3
    done = run_command(workspace.environment(broker.bootstrap, database_url), "verify")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_after_a_clock_step_that_lasted_the_windows_are_restored(
    broker: Broker, database_url: str, workspace: Workspace, offset: Path
) -> None:
    create_topics(broker, workspace)
    collector = Collector(workspace.certs)
    worker = start(broker, workspace, database_url, offset, 3)
    try:
        send(broker, workspace, collector, range(READINGS))
        eventually(lambda: counted(worker.get(PATH)), lambda found: found == (200, READINGS))
        offset.write_text(HOURS)
        eventually(lambda: worker.get(PATH)[0], lambda status: status != 503)
        send(broker, workspace, collector, range(1))
        statement = 'SELECT sum("count") AS n FROM temperature_aggregates'
        eventually(lambda: query(database_url, statement)[0]["n"], lambda n: n == READINGS + 1)
        offset.unlink()
        # Nothing else but 503 and the right number.
        answers = set()
        deadline = time.monotonic() + 90
        while (200, READINGS + 1) not in answers and time.monotonic() < deadline:
            answers.add(counted(worker.get(PATH)))
            time.sleep(0.2)
        assert answers == {(503, None), (200, READINGS + 1)}
    finally:
        worker.close()
