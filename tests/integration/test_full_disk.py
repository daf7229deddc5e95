"""SQLite on a disk that becomes full: the warning comes before, and nothing is lost."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count
from tests.support.disks import fill, small_file_system
from tests.support.eventually import eventually
from tests.support.produce import consume_all, produce
from tests.support.worker import Worker, Workspace, run_command

pytestmark = pytest.mark.any_broker

TABLE = "temperature_readings"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 16 MB."""
    with small_file_system() as folder:
        yield folder


def test_a_disk_is_reported_before_it_is_full(broker: Broker, workspace: Workspace, small_disk: Path) -> None:
    collector = Collector(workspace.certs)
    url = f"sqlite:///{small_disk}/data/x.sqlite3"
    environment = workspace.environment(broker.bootstrap, url, data=small_disk / "data")
    ballast = small_disk / "ballast"
    fill(ballast, free=1_600_000)
    warning = f"{small_disk}/data: expected less than 90 % of the disk in use, found 9"
    worker = Worker(environment, workspace.folder / "worker-1.log")
    produced = 0

    def send(number: int) -> None:
        nonlocal produced
        records = [
            collector.record(f"host-{n % 7}", "Temperature", f"k{n}", 20.0)
            for n in range(produced, produced + number)
        ]
        produce(broker.bootstrap, workspace.topic, records)
        produced += number

    try:
        worker.start()
        worker.wait_ready()
        log = worker.process.log
        eventually(lambda: log.read_text().count(warning), bool)
        # It is ready nevertheless.
        status, health = worker.get("/health/ready")
        assert (status, health["ready"]) == (200, True)
        assert health["warnings"]["disk"].startswith(warning)
        metrics = requests.get(f"{worker.url}/metrics", timeout=10).text
        (free,) = (
            float(line.split()[-1])
            for line in metrics.splitlines()
            if line.startswith(f'sparkle_disk_free_bytes{{path="{small_disk}/data"}}')
        )
        assert 0 < free <= 1_677_721
        assert f'sparkle_disk_size_bytes{{path="{small_disk}/data"}} 1.6777216e+07' in metrics
        checked = run_command(environment, "check")
        assert checked.returncode == 0
        (line,) = (line for line in checked.stdout.splitlines() if "warning: " in line)
        assert line.startswith(f"ok    database: warning: {small_disk}/data: expected less than 90 %")
        found = json.loads(run_command(environment, "check", "--json").stdout)
        (entry,) = (each for each in found if each["text"].startswith("warning: "))
        assert (entry["what"], entry["ok"]) == ("database", True)
        send(50)
        eventually(lambda: count(url, TABLE), lambda n: n == produced)
        fill(ballast)
        send(2000)
        _, health = eventually(lambda: worker.get("/health/ready"), lambda answer: answer[0] == 503)
        assert "disk is full" in health["checks"]["pipelines"]
        ballast.unlink()
        eventually(lambda: count(url, TABLE), lambda n: n == produced)
        eventually(worker.ready, bool)
        # The next poll is within a minute.
        eventually(lambda: "% in use again" in log.read_text(), bool, 90)
        assert log.read_text().count("expected less than 90 %") == 1
        assert "warnings" not in worker.get("/health/ready")[1]
        assert consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters") == []
    finally:
        worker.close()
