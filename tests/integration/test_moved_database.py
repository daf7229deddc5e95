"""A pipeline whose database is moved, and goes on in the new one: each record becomes one reading."""

from pathlib import Path

import pytest

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.produce import produce
from tests.support.worker import Worker, Workspace, run_command

# With the embedded broker, a restarted worker needs half a minute to rejoin the group: too long for `make test`.
pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_a_moved_pipeline_loses_and_doubles_nothing(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker, tmp_path: Path
) -> None:
    collector = Collector(workspace.certs)
    source = f"sqlite:///{tmp_path / 'readings.sqlite3'}"
    before = workspace.environment(broker.bootstrap, source)
    after = workspace.environment(broker.bootstrap, database_url)
    sent = 0

    def send(number: int) -> None:
        nonlocal sent
        records = [collector.record(f"host-{n % 7}", "Temperature", "k", 20.0 + n % 9) for n in range(number)]
        produce(broker.bootstrap, workspace.topic, records)
        sent += number

    def stored(url: str) -> None:
        eventually(lambda: count(url, "temperature_readings"), lambda found: found == sent)

    old = Worker(before, workspace.folder / "worker-old.log")
    try:
        old.start()
        old.wait_ready()
        send(500)
        stored(source)
        # While the worker runs, the first run takes most of it.
        moved = run_command(before, "move", "--to", database_url)
        assert "Temperature: 500 readings read, 500 new or changed, 0 known" in moved.stdout, moved.stderr
        send(60)
        stored(source)
        # Records of which the worker may have stored some, and counted fewer, when it ends.
        send(300)
        if database_url.startswith("postgresql"):
            assert old.terminate() == 0
    finally:
        old.close()
    send(40)
    last = run_command(before, "move", "--to", database_url)
    assert "then start the workers\n" in last.stdout, last.stdout + last.stderr
    assert last.returncode == 0
    worker = start_worker()
    send(30)
    stored(database_url)
    eventually(
        lambda: query(database_url, "SELECT sum(a.count) AS n FROM temperature_aggregates a")[0]["n"],
        lambda counted: counted == sent,
    )
    verified = run_command(after, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert f"Temperature: {sent} readings" in verified.stdout
    found = worker.get("/api/v1/plugins/Temperature?window=1h")[1]["metrics"]["k"]["count"]
    assert found == sent
