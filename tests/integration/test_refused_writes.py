"""A PostgreSQL server that refuses writes: what `check` says, and that a worker goes on afterwards."""

import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.migrations.branches import core_branch
from sparkle_app.storage.migrations.migration import create_tables
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count
from tests.support.disks import fill, small_file_system
from tests.support.eventually import eventually
from tests.support.postgres import PostgresServer
from tests.support.processes import free_port
from tests.support.produce import consume_all, produce
from tests.support.rows import store
from tests.support.worker import PROJECT, Worker, Workspace, run_command

pytestmark = pytest.mark.any_broker

TABLE = "temperature_readings_data"


@dataclass
class Database:
    """A database, and a user who may create tables in it."""

    server: PostgresServer
    name: str
    user: str

    @property
    def url(self) -> str:
        """The URL of the user."""
        return self.server.url(self.name).replace("postgres@", f"{self.user}@")

    def run(self, *statements: str, database: str | None = None) -> None:
        """Execute statements as the superuser, each in its own transaction."""
        url = self.server.url(database or self.name).replace("+psycopg2", "")
        with closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True
            for statement in statements:
                connection.cursor().execute(statement)

    def errors(self, environment: dict[str, str]) -> list[str]:
        """What `check` reports as errors."""
        checked = run_command(environment, "check")
        errors = [line for line in checked.stdout.splitlines() if line.startswith("ERROR ")]
        assert (checked.returncode, checked.stderr) == (1 if errors else 0, "")
        return errors

    def rejects(self, found: str, hint: str) -> list[str]:
        """The error that `check` reports for a rejected statement."""
        return [
            f"ERROR database: database.url: expected {self.url} to accept what a worker writes,"
            f" found {found}; {hint}"
        ]


def new_database(server: PostgresServer, options: str = "") -> Database:
    name = f"test_{uuid.uuid4().hex[:8]}"
    database = Database(server, name, f"user_{name}")
    database.run(
        f"CREATE ROLE {database.user} LOGIN", f"CREATE DATABASE {name} {options}", database="postgres"
    )
    return database


@pytest.fixture
def database(postgres: PostgresServer) -> Database:
    database = new_database(postgres)
    database.run(f"GRANT CREATE ON SCHEMA public TO {database.user}")
    return database


Repair = tuple[str, ...]
"""Statements that end the fault."""


def read_only(database: Database) -> tuple[Repair, str, list[str]]:
    setting = f"ALTER DATABASE {database.name} SET default_transaction_read_only TO"
    # Applies to new sessions.
    database.run(f"{setting} on", database="postgres")
    database.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{database.user}'")
    message = "cannot execute INSERT in a read-only transaction"
    hint = "set database.url to the primary, or make the server writable"
    return (f"{setting} off",), message, database.rejects(message, hint)


def missing_table(database: Database) -> tuple[Repair, str, list[str]]:
    database.run("CREATE SCHEMA elsewhere", f"ALTER TABLE {TABLE} SET SCHEMA elsewhere")
    error = (
        f"ERROR database: database.url: expected the tables {TABLE} and temperature_aggregates_data of the plugin"
        f" Temperature, found no table {TABLE}; restore it from a backup, or start a worker, which creates it empty"
    )
    return (
        (f"ALTER TABLE elsewhere.{TABLE} SET SCHEMA public",),
        f'relation "{TABLE}" does not exist',
        [error],
    )


def another_column(database: Database) -> tuple[Repair, str, list[str]]:
    database.run(f"ALTER TABLE {TABLE} RENAME COLUMN series_id TO name")
    message = f'column "series_id" of relation "{TABLE}" does not exist'
    hint = "alter the table to the columns that the plugin declares"
    return (f"ALTER TABLE {TABLE} RENAME COLUMN name TO series_id",), message, database.rejects(message, hint)


def missing_privilege(database: Database) -> tuple[Repair, str, list[str]]:
    database.run(f"REVOKE INSERT ON {TABLE} FROM {database.user}")
    message = f"permission denied for table {TABLE}"
    errors = database.rejects(message, "grant the privilege to the user of database.url")
    return (f"GRANT INSERT ON {TABLE} TO {database.user}",), message, errors


def disk_quota(database: Database) -> tuple[Repair, str, list[str]]:
    message = "could not extend file: No space left on device"
    database.run(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '53100'; END $$",
        f"CREATE TRIGGER full_disk BEFORE INSERT ON {TABLE} EXECUTE FUNCTION full_disk()",
    )
    errors = database.rejects(message, "free disk space on the server")
    return (f"DROP TRIGGER full_disk ON {TABLE}",), message, errors


FAULTS: list[Callable[[Database], tuple[Repair, str, list[str]]]] = [
    read_only, missing_table, another_column, missing_privilege, disk_quota,
]  # fmt: skip


def test_a_worker_is_not_ready_while_writes_are_refused_and_loses_nothing(
    broker: Broker, workspace: Workspace, database: Database
) -> None:
    collector = Collector(workspace.certs)
    environment = workspace.environment(broker.bootstrap, database.url)
    (created,) = (
        line for line in run_command(environment, "check").stdout.splitlines() if " database:" in line
    )
    assert created.startswith(f"ok    database: {database.url}; the first worker will create pu_workload_")
    worker = Worker(environment, workspace.folder / "worker-1.log")
    try:
        worker.start()
        worker.wait_ready()
        assert database.errors(environment) == []
        total = 0
        for fault in FAULTS:
            repair, cause, errors = fault(database)
            assert database.errors(environment) == errors
            records = [collector.record(f"host-{n % 7}", "Temperature", f"k{n}", 20.0) for n in range(50)]
            produce(broker.bootstrap, workspace.topic, records)
            total += len(records)
            status = wait_for_stage(worker)
            assert status.startswith("stage store in progress for 1"), status
            assert cause in status
            database.run(*repair, database="postgres" if fault is read_only else None)
            wait_for_rows(worker, database, total)
            assert database.errors(environment) == []
        assert consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters") == []
    finally:
        worker.close()


def test_a_worker_waits_for_the_privilege_to_create_tables(
    broker: Broker, workspace: Workspace, postgres: PostgresServer
) -> None:
    database = new_database(postgres)
    collector = Collector(workspace.certs)
    environment = workspace.environment(broker.bootstrap, database.url)
    message, hint = (
        "permission denied for schema public", "grant the privilege to the user of database.url",
    )  # fmt: skip
    assert database.errors(environment) == database.rejects(message, hint)
    in_a_hurry = {"SPARKLE_DATABASE__WAIT_SECONDS": "2", "SPARKLE_WEB__PORT": str(free_port())}
    stopped = run_command({**environment, **in_a_hurry}, "worker")
    assert stopped.returncode == 1
    (line,) = (line for line in stopped.stderr.splitlines() if "database.url: expected" in line)
    assert message in line
    assert line.endswith(f"; {hint}")
    worker = Worker(environment, workspace.folder / "worker-1.log")
    try:
        worker.start()
        log = worker.process.log
        eventually(lambda: "waiting for the database" in log.read_text(), bool)
        assert message in log.read_text()
        database.run(f"GRANT CREATE ON SCHEMA public TO {database.user}")
        worker.wait_ready()
        produce(broker.bootstrap, workspace.topic, [collector.record("host", "Temperature", "k", 20.0)])
        wait_for_rows(worker, database, 1)
    finally:
        worker.close()


def test_check_reports_a_server_that_is_read_only_before_there_are_tables(
    broker: Broker, workspace: Workspace, database: Database
) -> None:
    Collector(workspace.certs)
    environment = workspace.environment(broker.bootstrap, database.url)
    read_only(database)
    message = "cannot execute CREATE TABLE in a read-only transaction"
    hint = "set database.url to the primary, or make the server writable"
    assert database.errors(environment) == database.rejects(message, hint)


def test_check_needs_no_more_privileges_than_a_worker(
    broker: Broker, workspace: Workspace, postgres: PostgresServer
) -> None:
    database = new_database(postgres)
    Collector(workspace.certs)
    environment = workspace.environment(broker.bootstrap, database.url)
    url = postgres.url(database.name)
    load_plugins(PROJECT / "plugins")
    engine = make_engine(make_url(url))
    create_tables(engine, [core_branch()])
    engine.dispose()
    store(url, [])
    page = (PROJECT / "docs" / "operations.md").read_text("utf-8")
    (grants,) = re.findall(r"\n```\n(GRANT .* sparkle_schema .*?)```", page, re.DOTALL)
    database.run(
        f"REVOKE TEMPORARY ON DATABASE {database.name} FROM public",
        *(statement.replace(" TO sparkle", f" TO {database.user}") for statement in grants.split(";")[:-1]),
    )
    assert database.errors(environment) == []
    hint = "grant the privilege to the user of database.url"
    for table in ("sparkle_hosts", "temperature_aggregates_data"):
        database.run(f"REVOKE UPDATE ON {table} FROM {database.user}")
        expected = database.rejects(f"permission denied for table {table}", hint)
        assert database.errors(environment) == expected
        database.run(f"GRANT UPDATE ON {table} TO {database.user}")
    database.run(
        f"GRANT UPDATE ON temperature_aggregates_data TO {database.user}",
        f"REVOKE SELECT ON {TABLE} FROM {database.user}",
    )
    # Which readings are new is returned by the statement of a worker.
    assert database.errors(environment) == database.rejects(f"permission denied for table {TABLE}", hint)
    database.run(
        f"GRANT SELECT ON {TABLE} TO {database.user}", f"ALTER TABLE {TABLE} DROP CONSTRAINT {TABLE}_pkey"
    )
    message = "there is no unique or exclusion constraint matching the ON CONFLICT specification"
    hint = "create the primary key that the plugin declares"
    assert database.errors(environment) == database.rejects(message, hint)


def test_check_names_the_tables_from_which_retention_may_not_delete(
    broker: Broker, workspace: Workspace, database: Database, postgres: PostgresServer
) -> None:
    Collector(workspace.certs)
    store(postgres.url(database.name), [])
    aggregates = "temperature_aggregates_data"
    database.run(
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {database.user}",
        f"REVOKE DELETE ON {TABLE}, {aggregates} FROM {database.user}",
    )
    assert database.errors(workspace.environment(broker.bootstrap, database.url)) == [
        f"ERROR database: database.url: expected {database.url} to let retention delete rows,"
        f" found permission denied for table {TABLE}; permission denied for table {aggregates};"
        f" grant DELETE on {TABLE}, {aggregates} to the user, or set the durations in the section retention to forever"
    ]
    kept = dict.fromkeys(("readings", "buckets", "hours", "days"), "forever")
    forever = {f"retention__{name}": duration for name, duration in kept.items()}
    assert database.errors(workspace.environment(broker.bootstrap, database.url, **forever)) == []


@pytest.fixture
def small_disk(postgres: PostgresServer) -> Iterator[Path]:
    """A file system of 16 MB to which the server may write."""
    with small_file_system() as folder:
        yield folder


def test_a_full_disk(
    broker: Broker, workspace: Workspace, postgres: PostgresServer, small_disk: Path
) -> None:
    # PostgreSQL creates the folder of its version in it.
    space = f"space_{uuid.uuid4().hex[:8]}"
    data = small_disk / "data"
    data.mkdir(mode=0o700)
    subprocess.run(["chown", "nobody", data], check=True)
    Database(postgres, "postgres", "postgres").run(f"CREATE TABLESPACE {space} LOCATION '{data}'")
    database = new_database(postgres, f"TABLESPACE {space}")
    database.run(f"GRANT CREATE ON SCHEMA public TO {database.user}")
    collector = Collector(workspace.certs)
    environment = workspace.environment(broker.bootstrap, database.url)
    worker = Worker(environment, workspace.folder / "worker-1.log")
    ballast = small_disk / "ballast"
    try:
        worker.start()
        worker.wait_ready()
        assert database.errors(environment) == []
        fill(ballast)
        (error,) = database.errors(environment)
        assert "No space left on device; free disk space on the server" in error
        produce(
            broker.bootstrap,
            workspace.topic,
            [collector.record(f"host-{n % 7}", "Temperature", f"k{n}", 20.0) for n in range(2000)],
        )
        assert "No space left on device" in wait_for_stage(worker)
        ballast.unlink()
        wait_for_rows(worker, database, 2000)
        assert consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters") == []
    finally:
        worker.close()
        remove = Database(postgres, "postgres", "postgres").run
        remove(f"DROP DATABASE {database.name} WITH (FORCE)", f"DROP TABLESPACE {space}")


def wait_for_stage(worker: Worker) -> str:
    """Wait until the worker is not ready; returns the state of its pipelines."""
    _, health = eventually(lambda: worker.get("/health/ready"), lambda found: found[0] == 503)
    return str(health["checks"]["pipelines"])


def wait_for_rows(worker: Worker, database: Database, number: int) -> None:
    """Wait until all rows and their aggregates are stored, and the worker is ready."""
    url = database.server.url(database.name)
    eventually(lambda: count(url, "temperature_readings"), lambda n: n >= number)
    counted = "(SELECT sum(count) AS n FROM temperature_aggregates_data) AS counted WHERE n >= "
    eventually(lambda: count(url, f"{counted}{number}"), bool)
    eventually(worker.ready, bool)
    assert count(url, "temperature_readings") == number
