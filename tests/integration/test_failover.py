"""A failover of PostgreSQL: the server becomes read-only, and new connections lead to another one."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from sparkle_app.storage.dialects import postgresql
from sparkle_app.storage.engine import make_engine, read_transaction
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.postgres import PostgresServer
from tests.support.produce import consume_all, produce
from tests.support.proxy import Proxy
from tests.support.worker import Worker, Workspace

pytestmark = pytest.mark.any_broker

SECONDS = 60
"""How long a failover may delay a row."""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[PostgresServer]]:
    """Two servers with an empty database each."""
    started = []
    try:
        for name in ("old", "new"):
            (tmp_path / name).mkdir()
            server = PostgresServer(tmp_path / name)
            started.append(server)
            server.start()
            server.create_database("readings")
        yield started
    finally:
        for server in started:
            server.remove()


@pytest.fixture
def switch(servers: list[PostgresServer]) -> Iterator[Proxy]:
    """Leads to the old server first."""
    switch = Proxy(f"127.0.0.1:{servers[0].port}")
    yield switch
    switch.close()


def by_switch(servers: list[PostgresServer], switch: Proxy) -> str:
    """The address is moved to the new server."""
    return servers[0].url("readings", switch.port)


def by_hosts(servers: list[PostgresServer], _switch: Proxy) -> str:
    """The driver chooses the server that is writable."""
    hosts = "&".join(f"host=127.0.0.1:{server.port}" for server in servers)
    return f"postgresql+psycopg2://postgres@/readings?{hosts}&target_session_attrs=read-write"


@pytest.mark.parametrize("url", [by_switch, by_hosts])
def test_all_rows_are_stored_within_a_minute_of_a_failover(
    broker: Broker,
    workspace: Workspace,
    servers: list[PostgresServer],
    switch: Proxy,
    url: Callable[[list[PostgresServer], Proxy], str],
) -> None:
    old, new = servers
    collector = Collector(workspace.certs)
    environment = workspace.environment(broker.bootstrap, url(servers, switch))
    worker = Worker(environment, workspace.folder / "worker.log")
    records = [collector.record(f"host-{n % 7}", "Temperature", f"k{n}", 20.0) for n in range(300)]
    try:
        # As replication would.
        create_tables_with_a_worker(broker, workspace, new)
        worker.start()
        worker.wait_ready()
        produce(broker.bootstrap, workspace.topic, records[:100])
        eventually(lambda: count(old.url("readings"), "temperature_aggregates"), lambda n: n >= 100)
        old.make_read_only()
        produce(broker.bootstrap, workspace.topic, records[100:200])
        eventually(lambda: "read-only transaction" in worker.process.log.read_text(), bool)
        switch.target = f"127.0.0.1:{new.port}"
        switched = time.monotonic()
        produce(broker.bootstrap, workspace.topic, records[200:])
        eventually(lambda: count(new.url("readings"), "temperature_readings"), lambda n: n >= 200, SECONDS)
        print(f"rows on the new server {time.monotonic() - switched:.1f} s after the switch")
        metrics = "SELECT DISTINCT metric FROM temperature_readings ORDER BY metric"
        kept = {row["metric"] for row in query(old.url("readings"), metrics)}
        moved = {row["metric"] for row in query(new.url("readings"), metrics)}
        assert kept == {f"k{n}" for n in range(100)}
        assert moved == {f"k{n}" for n in range(100, 300)}
        eventually(lambda: count(new.url("readings"), "temperature_aggregates"), lambda n: n >= 200)
        assert consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters") == []
        eventually(worker.ready, bool)
        assert worker.process.running
    finally:
        worker.close()


def test_connections_that_only_read_follow_a_failover(
    servers: list[PostgresServer], switch: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "_RECYCLE_SECONDS", 1)
    engine = make_engine(make_url(by_switch(servers, switch)))
    server_port = "SELECT inet_server_port()"
    with read_transaction(engine) as connection:
        assert connection.exec_driver_sql(server_port).scalar() == servers[0].port
    switch.target = f"127.0.0.1:{servers[1].port}"
    with read_transaction(engine) as connection:
        assert connection.exec_driver_sql(server_port).scalar() == servers[0].port
    time.sleep(1.5)
    with read_transaction(engine) as connection:
        assert connection.exec_driver_sql(server_port).scalar() == servers[1].port
    engine.dispose()


def test_one_refused_write_replaces_every_connection(servers: list[PostgresServer], switch: Proxy) -> None:
    engine = make_engine(make_url(by_switch(servers, switch)))
    with engine.connect() as one, engine.connect() as other:
        for connection in (one, other):
            connection.exec_driver_sql("SELECT 1")
    switch.target = f"127.0.0.1:{servers[1].port}"
    servers[0].make_read_only()
    with pytest.raises(DBAPIError, match="read-only"), engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x int)")
    with engine.connect() as one, engine.connect() as other:
        for connection in (one, other):
            assert connection.exec_driver_sql("SELECT inet_server_port()").scalar() == servers[1].port
    engine.dispose()


def create_tables_with_a_worker(broker: Broker, workspace: Workspace, server: PostgresServer) -> None:
    """Start a worker of another app id until it has created the tables."""
    url = server.url("readings")
    environment = workspace.environment(broker.bootstrap, url, app_id=f"{workspace.app_id}-tables")
    worker = Worker(environment, workspace.folder / "worker-tables.log")
    worker.start()
    tables = "SELECT count(*) AS n FROM pg_tables WHERE schemaname = 'public'"
    eventually(lambda: query(url, tables)[0]["n"], lambda n: n == 9)
    worker.close()
