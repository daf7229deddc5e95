"""A worker whose MariaDB refuses writes or forgets connections: what `check` says, and that nothing is lost."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.mariadb import USER, MariadbServer
from tests.support.produce import consume_all, produce
from tests.support.proxy import Proxy
from tests.support.worker import Worker, Workspace, run_command

pytestmark = pytest.mark.any_broker

TABLE = "temperature_readings_data"
GRANT = "grant the privilege to the user of database.url"
Fault = tuple[tuple[str, ...], tuple[str, ...], str, str]
"""Statements that begin and end it, the server's message, and the remedy."""


@dataclass
class Database:
    """A database whose user has privileges for each table."""

    server: MariadbServer
    name: str
    proxy: Proxy

    @property
    def url(self) -> str:
        """The URL for workers."""
        return self.server.url(self.name, self.proxy.port)

    @property
    def own_url(self) -> str:
        """The URL for tests."""
        return self.server.url(self.name)

    def run(self, *statements: str) -> None:
        """Execute statements as the administrator."""
        self.server.run(f"USE {self.name}", *statements)

    def errors(self, environment: dict[str, str]) -> list[str]:
        """What `check` reports as errors."""
        checked = run_command(environment, "check")
        errors = [line for line in checked.stdout.splitlines() if line.startswith("ERROR ")]
        assert (checked.returncode, checked.stderr) == (1 if errors else 0, "")
        return errors


@pytest.fixture
def database(mariadb: MariadbServer) -> Iterator[Database]:
    name = f"test_{uuid.uuid4().hex[:8]}"
    mariadb.create_database(name)
    proxy = Proxy(f"127.0.0.1:{mariadb.port}")
    yield Database(mariadb, name, proxy)
    proxy.close()
    mariadb.run("SET GLOBAL read_only = OFF")


def read_only(_database: Database) -> Fault:
    message = "The MariaDB server is running with the --read-only option so it cannot execute this statement"
    setting = "SET GLOBAL read_only"
    hint = "set database.url to the primary, or make the server writable"
    return (f"{setting} = ON",), (f"{setting} = OFF",), message, hint


def another_column(_database: Database) -> Fault:
    rename = f"ALTER TABLE {TABLE} RENAME COLUMN"
    hint = "alter the table to the columns that the plugin declares"
    return (f"{rename} series_id TO name",), (f"{rename} name TO series_id",), "Unknown column ", hint


def missing_privilege(database: Database) -> Fault:
    revoke = f"REVOKE INSERT ON {database.name}.* FROM {USER}@'%'"
    grant = f"GRANT INSERT ON {database.name}.* TO {USER}@'%'"
    return (revoke,), (grant,), f"INSERT command denied to user '{USER}'@", GRANT


def full_disk(_database: Database) -> Fault:
    trigger = (
        f"CREATE TRIGGER full_disk BEFORE INSERT ON {TABLE} FOR EACH ROW"
        f" SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'The table ''{TABLE}'' is full'"
    )
    return (trigger,), ("DROP TRIGGER full_disk",), f"The table '{TABLE}' is full", ""


FAULTS: list[Callable[[Database], Fault]] = [read_only, another_column, missing_privilege, full_disk]


def test_a_worker_is_not_ready_while_writes_are_refused_and_loses_nothing(
    broker: Broker, workspace: Workspace, database: Database
) -> None:
    collector = Collector(workspace.certs)
    environment = workspace.environment(broker.bootstrap, database.url)
    (created,) = (
        line for line in run_command(environment, "check").stdout.splitlines() if " database:" in line
    )
    shown = f"mysql+pymysql://{USER}:***@{database.proxy.address}/{database.name}"
    assert created.startswith(f"ok    database: {shown}; the first worker will create pu_workload_")
    worker = Worker(environment, workspace.folder / "worker-1.log")
    total = 0

    def send() -> None:
        nonlocal total
        records = [collector.record(f"host-{n % 7}", "Temperature", f"k{n}", 20.0) for n in range(50)]
        produce(broker.bootstrap, workspace.topic, records)
        total += len(records)

    def wait_for_rows() -> None:
        eventually(lambda: count(database.own_url, "temperature_readings"), lambda n: n >= total)
        counted = 'SELECT coalesce(sum("count"), 0) AS n FROM temperature_aggregates'
        eventually(lambda: query(database.own_url, counted)[0]["n"], lambda n: n >= total)
        eventually(worker.ready, bool)
        assert count(database.own_url, "temperature_readings") == total

    try:
        worker.start()
        worker.wait_ready()
        send()
        wait_for_rows()
        assert database.errors(environment) == []
        for fault in FAULTS:
            begin, end, message, hint = fault(database)
            database.run(*begin)
            # The server checks database privileges when a connection selects the database.
            database.server.end_sessions(database.name)
            if hint:
                (error,) = database.errors(environment)
                assert error.startswith(
                    f"ERROR database: database.url: expected {shown} to accept what a worker writes, found {message}"
                )
                assert error.endswith(f"; {hint}")
            send()
            _, health = eventually(lambda: worker.get("/health/ready"), lambda found: found[0] == 503)
            assert message in health["checks"]["pipelines"]
            database.run(*end)
            database.server.end_sessions(database.name)
            wait_for_rows()
        assert database.errors(environment) == []
        database.proxy.forget()
        send()
        wait_for_rows()
        assert (
            f"the database at {database.proxy.address} did not respond to a ping"
            in worker.process.log.read_text()
        )
        assert consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters") == []
    finally:
        worker.close()


def test_a_wrong_password_ends_a_worker_at_once(
    broker: Broker, workspace: Workspace, database: Database
) -> None:
    Collector(workspace.certs)
    wrong = database.url.replace(f"{USER}:", f"{USER}:wrong")
    stopped = run_command(workspace.environment(broker.bootstrap, wrong), "worker")
    assert stopped.returncode == 1
    assert "waiting for the database" not in stopped.stderr
    last = stopped.stderr.strip().splitlines()[-1]
    shown = f"mysql+pymysql://{USER}:***@{database.proxy.address}/{database.name}"
    assert f"database.url: expected {shown} to accept the user name and the password, found" in last
    assert f"Access denied for user '{USER}'@" in last
    assert "w0rd" not in stopped.stderr
