"""A database without a dialect of its own: one URL is enough, and what that means is said."""

import json
import os
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from sparkle_app.storage.engine import make_engine, notice, read_transaction
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.postgres import PostgresServer
from tests.support.produce import produce
from tests.support.worker import PROJECT, Worker, Workspace, run_command

PACKAGE = PROJECT / "tests" / "support" / "other_database"
NOTICE = "otherdb: used with portable statements, which are slow, and not tested"


def other_url(url: str) -> str:
    return url.replace("postgresql+psycopg2://", "otherdb://")


def test_a_worker_and_commands_use_a_database_that_is_not_known(
    broker: Broker, workspace: Workspace, postgres: PostgresServer
) -> None:
    url = postgres.create_database(workspace.app_id)
    environment = workspace.environment(broker.bootstrap, other_url(url))
    # Where the package is installed, with its entry point.
    environment["PYTHONPATH"] = os.pathsep.join([str(PACKAGE), str(PROJECT)])
    collector = Collector(workspace.certs)
    checked = run_command(environment, "check")
    assert checked.returncode == 0, checked.stdout
    assert NOTICE in checked.stdout
    records = [collector.record(f"host-{n % 7}", "Temperature", f"k{n}", 20.0) for n in range(300)]
    worker = Worker(environment, workspace.folder / "worker-1.log")
    try:
        worker.start()
        worker.wait_ready()
        assert NOTICE in worker.process.log.read_text()
        produce(broker.bootstrap, workspace.topic, [*records, *records[:50]])
        eventually(lambda: count(url, "temperature_readings"), lambda n: n >= 300)
        eventually(lambda: count(url, "temperature_aggregates"), lambda n: n >= 300)
        status, body = worker.get("/api/v1/plugins/Temperature/hosts/host-1/readings")
        assert status == 200, body
    finally:
        worker.close()
    assert count(url, "temperature_readings") == 300
    verified = run_command(environment, "verify", "--json")
    assert verified.returncode == 0, verified.stderr
    found = {each["plugin"]: each["readings"] for each in json.loads(verified.stdout)}
    assert found == {"Temperature": 300, "PU_Workload": 0}
    migrated = run_command(environment, "migrate", "--sql")
    assert migrated.returncode == 0, migrated.stderr
    types = query(url, "SELECT data_type FROM information_schema.columns WHERE column_name = 'observed_at'")
    assert {each["data_type"] for each in types} == {"bigint"}


def test_a_read_transaction_of_a_database_that_is_not_known_has_one_snapshot(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(PACKAGE)
    url = make_url(other_url(postgres.create_database(f"other_{os.getpid()}")))
    assert notice(url)
    engine = make_engine(url)
    with engine.begin() as writer:
        assert writer.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
        writer.execute(text("CREATE TABLE t (x int)"))
    with read_transaction(engine) as reader:
        assert reader.execute(text("SELECT count(*) FROM t")).scalar_one() == 0
        with engine.begin() as writer:
            writer.execute(text("INSERT INTO t VALUES (1)"))
        assert reader.execute(text("SELECT count(*) FROM t")).scalar_one() == 0
    engine.dispose()
