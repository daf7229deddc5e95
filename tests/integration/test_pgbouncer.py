"""A worker and commands behind PgBouncer with transaction pooling."""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import set_wait_callback
from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from sparkle_app.storage.engine import make_engine, read_transaction
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.pgbouncer import PROGRAM, PgBouncer
from tests.support.postgres import PostgresServer
from tests.support.produce import produce
from tests.support.worker import Worker, Workspace, run_command

pytestmark = [
    pytest.mark.any_broker,
    pytest.mark.skipif(not PROGRAM, reason="needs PgBouncer: install the package pgbouncer"),
]


@pytest.fixture
def pgbouncer(postgres: PostgresServer, tmp_path: Path) -> Iterator[PgBouncer]:
    pgbouncer = PgBouncer(tmp_path, postgres)
    try:
        pgbouncer.start()
        yield pgbouncer
    finally:
        pgbouncer.remove()


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    name = f"test_{uuid.uuid4().hex[:8]}"
    postgres.create_database(name)
    return name


def test_a_worker_behind_pgbouncer_stores_rows_and_aggregates(
    broker: Broker, workspace: Workspace, postgres: PostgresServer, pgbouncer: PgBouncer, database: str
) -> None:
    direct, url = postgres.url(database), pgbouncer.url(database)
    collector = Collector(workspace.certs)
    environment = workspace.environment(broker.bootstrap, url)
    worker = Worker(environment, workspace.folder / "worker-1.log")
    records = [collector.record(f"host-{n % 7}", "Temperature", f"k{n}", 20.0) for n in range(400)]
    try:
        worker.start()
        worker.wait_ready()
        produce(broker.bootstrap, workspace.topic, records[:300])
        eventually(lambda: count(direct, "temperature_readings"), lambda n: n >= 300)
        eventually(lambda: count(direct, "temperature_aggregates"), lambda n: n >= 300)
        assert worker.get("/api/v1/plugins/Temperature/hosts/host-1/readings")[0] == 200
        with closing(psycopg2.connect(direct.replace("+psycopg2", ""))) as other:
            other.cursor().execute("LOCK TABLE temperature_readings_data IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            produce(broker.bootstrap, workspace.topic, records[300:])
            log = worker.process.log
            eventually(lambda: "stage store: failed, retrying" in log.read_text(), bool, 30)
            assert "canceling statement due to lock timeout" in log.read_text()
            # The limit is ten seconds.
            assert 9 < time.monotonic() - began < 25
        eventually(lambda: count(direct, "temperature_readings"), lambda n: n >= 400)
        eventually(lambda: count(direct, "temperature_aggregates"), lambda n: n >= 400)
        verified = run_command(environment, "verify", "--json")
        assert verified.returncode == 0, verified.stderr
        found = {each["plugin"]: each["readings"] for each in json.loads(verified.stdout)}
        assert found == {"Temperature": 400, "PU_Workload": 0}
        rebuilt = run_command(environment, "rebuild")
        assert rebuilt.returncode == 0, rebuilt.stderr
        assert "ok    database" in run_command(environment, "check").stdout
    finally:
        worker.close()


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
@pytest.mark.parametrize("for_command", [False, True])
def test_the_limits_apply_to_every_transaction_and_to_nothing_else(
    pgbouncer: PgBouncer, database: str, for_command: bool, driver: str
) -> None:
    limits = ("idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout")
    url = pgbouncer.url(database)
    engine = make_engine(make_url(url).set(drivername=f"postgresql+{driver}"), for_command=for_command)

    def settings(connection: Connection) -> list[str]:
        return [connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in limits]

    expected = ["15s", "10s", "0" if for_command else "1min"]
    # Two transactions at the same time use two connections to the server.
    with engine.begin() as one, read_transaction(engine) as other:
        # More often than after which psycopg would prepare a statement.
        for _ in range(6):
            assert settings(one) == settings(other) == expected
    engine.dispose()
    # A command waits for the server in Python, in the whole process.
    set_wait_callback(None)
    # As another client of PgBouncer finds the connection.
    for name in limits:
        assert query(url, f"SHOW {name}")[0][name] == "0"


def test_a_transaction_that_is_idle_is_terminated(pgbouncer: PgBouncer, database: str) -> None:
    engine = make_engine(make_url(pgbouncer.url(database)))
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x int)")
        time.sleep(16)
        with pytest.raises(OperationalError) as caught:
            connection.exec_driver_sql("SELECT 1")
        assert caught.value.connection_invalidated
    engine.dispose()
