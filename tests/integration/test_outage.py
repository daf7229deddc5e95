"""An outage of the database."""

from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.mariadb import MariadbServer
from tests.support.postgres import PostgresServer
from tests.support.produce import consume_all, produce
from tests.support.worker import Worker, Workspace


@pytest.mark.parametrize("kind", [PostgresServer, pytest.param(MariadbServer, marks=pytest.mark.databases)])
def test_a_worker_resumes_after_a_database_outage(
    broker: Broker, workspace: Workspace, tmp_path: Path, kind: type[PostgresServer] | type[MariadbServer]
) -> None:
    folder = tmp_path / "database"
    folder.mkdir()
    server = kind(folder)
    collector = Collector(workspace.certs)
    server.start()
    url = server.create_database("readings")
    worker = Worker(workspace.environment(broker.bootstrap, url), workspace.folder / "worker.log")
    try:
        worker.start()
        worker.wait_ready()
        records = [collector.record(f"host-{n % 7}", "Temperature", "k", 20.0) for n in range(300)]
        produce(broker.bootstrap, workspace.topic, records[:100])
        eventually(lambda: count(url, "temperature_readings"), lambda found: found >= 100)
        one_host = "/api/v1/plugins/Temperature/hosts/host-1"
        eventually(lambda: worker.get(one_host)[0], lambda status: status == 200)
        server.kill()
        produce(broker.bootstrap, workspace.topic, records[100:])
        eventually(lambda: "stage store: failed, retrying" in worker.process.log.read_text(), bool)
        _, health = eventually(lambda: worker.get("/health/ready"), lambda found: found[0] == 503)
        assert health["checks"]["database"] != "ok"
        assert worker.get(f"{one_host}/readings")[0] == 503
        assert worker.get(one_host)[0] == 200
        server.start()
        eventually(lambda: count(url, "temperature_readings"), lambda found: found >= 300)
        counted = eventually(
            lambda: query(url, 'SELECT sum("count") AS n FROM temperature_aggregates')[0]["n"],
            # None: it has no rows yet.
            lambda n: (n or 0) >= 300,
        )
        assert (count(url, "temperature_readings"), counted) == (300, 300)
        assert consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters") == []
        assert worker.process.running
    finally:
        worker.close()
        server.remove()
