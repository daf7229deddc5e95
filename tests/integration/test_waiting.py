"""verify and rebuild while workers or the database delay them, with database errors, and after Ctrl-C."""

import json
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.support.database import count, of_series, query
from tests.support.eventually import eventually
from tests.support.postgres import PostgresServer
from tests.support.rows import store
from tests.support.worker import Workspace, command_process, run_command

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOWHERE = "127.0.0.1:1"
SECONDS = 8
"""Time limit for the exit: a statement that waits for a lock ends only after 10 s."""
ONLY_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@ONLY_POSTGRESQL
def test_after_ctrl_c_committed_repairs_stay_and_the_next_run_does_the_rest(
    database_url: str, workspace: Workspace, tmp_path: Path
) -> None:
    environment = workspace.environment(NOWHERE, database_url)
    # The first transaction repairs 500 hosts, the second one the last host.
    store(database_url, [(f"host-{n:03}", "k", 20.0, NOON) for n in range(501)])
    run_command(environment, "rebuild", "--plugin", "Temperature")
    process = command_process(environment, tmp_path / "rebuild.log", "rebuild", "--plugin", "Temperature")
    wrong = "SELECT * FROM temperature_aggregates WHERE last <> 20"
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE temperature_aggregates_data SET last = 21"))
    with engine.connect() as connection:
        connection.execute(
            text("SELECT 1 FROM temperature_aggregates WHERE hostname = 'host-500' FOR UPDATE")
        )
        process.start()
        eventually(lambda: count(database_url, f"({wrong}) AS wrong"), lambda found: found == 1)
        process.send_only(signal.SIGINT)
        assert process.wait(SECONDS) == 130
    engine.dispose()
    assert process.tail().endswith("rebuild.log:\n"), "output after Ctrl-C"
    assert count(database_url, f"({wrong}) AS wrong") == 1
    rest = run_command(environment, "rebuild", "--plugin", "Temperature")
    assert rest.stdout == "Temperature: 501 readings, 1 aggregate recomputed\n"
    assert count(database_url, f"({wrong}) AS wrong") == 0


def test_a_database_server_that_hangs_is_an_error_and_does_not_block_the_command(
    postgres: PostgresServer, workspace: Workspace, tmp_path: Path
) -> None:
    url = postgres.create_database("hangs")
    store(url, [("host-1", "k", 20.0, NOON)])
    process = command_process(workspace.environment(NOWHERE, url), tmp_path / "verify.log", "verify")
    postgres.process.send_only(signal.SIGSTOP)
    try:
        process.start()
        assert process.wait(60) == 1
        assert "timeout expired" in process.tail()
        assert "start it, or correct the setting" in process.tail()
    finally:
        postgres.process.send_only(signal.SIGCONT)


PRINT_QUERIES = """

def _printed(connection, start, end, hostname, count=plugin.count_readings):
    print("limit", connection.exec_driver_sql("SHOW statement_timeout").scalar(), "host", hostname)
    return count(connection, start, end, hostname)

plugin.count_readings = _printed
"""


@ONLY_POSTGRESQL
def test_statements_have_no_timeout_and_select_only_the_requested_host(
    database_url: str, workspace: Workspace
) -> None:
    environment = workspace.environment(NOWHERE, database_url)
    store(database_url, [(f"host-{n}", "k", 20.0, NOON) for n in range(3)])
    with (workspace.plugins / "temperature" / "server.py").open("a") as server:
        server.write(PRINT_QUERIES)
    one = run_command(environment, "rebuild", "--plugin", "Temperature", "--host", "host-1")
    printed = "limit 0 host host-1\n"
    assert one.stdout == f"{printed * 2}Temperature: 1 reading, 1 aggregate recomputed\n", one.stderr
    rest = run_command(environment, "rebuild", "--plugin", "Temperature")
    assert rest.stdout == "limit 0 host None\nTemperature: 3 readings, 2 aggregates recomputed\n", rest.stderr


@ONLY_POSTGRESQL
def test_rebuild_waits_for_a_lock(database_url: str, workspace: Workspace, tmp_path: Path) -> None:
    environment = workspace.environment(NOWHERE, database_url)
    store(database_url, [("host-1", "k", 20.0, NOON)])
    run_command(environment, "rebuild")
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE temperature_aggregates_data SET last = 21"))
    connection = engine.connect()
    connection.execute(text("SELECT 1 FROM temperature_aggregates FOR UPDATE"))
    process = command_process(environment, tmp_path / "rebuild.log", "rebuild", "--plugin", "Temperature")
    process.start()
    waiting = """
        SELECT query_start FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()
    """
    first = eventually(lambda: query(database_url, waiting), bool)
    # The lock timeout ends the first statement; another one waits.
    eventually(lambda: query(database_url, waiting), lambda found: bool(found) and found != first)
    connection.close()
    assert process.wait(60) == 0, process.tail()
    engine.dispose()
    assert process.log.read_text() == "Temperature: 1 reading, 1 aggregate recomputed\n"


def test_a_database_error_is_reported_with_the_message_of_the_database(
    database_url: str, workspace: Workspace
) -> None:
    store(database_url, [("host", "k", 20.0, NOON)])
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE sparkle_retention"))
    engine.dispose()
    done = run_command(workspace.environment(NOWHERE, database_url), "verify")
    assert done.returncode == 1
    place, _, found = done.stderr.partition(", found ")
    assert place == f"database: expected {database_url} to execute the statement"
    message = "no such table: sparkle_retention"
    if database_url.startswith("postgresql"):
        message = 'relation "sparkle_retention" does not exist'
    assert found == f"{message}; fix this and run the command again; a worker creates missing tables\n"


RECORD_CHECKS = """

def _recorded(*arguments, compute=plugin.compute_aggregates):
    import os, time
    if "CHECKS" in os.environ:
        with open(os.environ["CHECKS"], "a") as checks:
            print(time.monotonic(), file=checks)
    return compute(*arguments)

plugin.compute_aggregates = _recorded
"""


def compared_at(checks: Path) -> list[float]:
    """When the command has computed aggregates, in seconds."""
    return [float(line) for line in checks.read_text().splitlines()] if checks.exists() else []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_verify_waits_for_aggregates_that_are_late(
    database_url: str, workspace: Workspace, tmp_path: Path
) -> None:
    environment = workspace.environment(NOWHERE, database_url)
    store(database_url, [(f"{host}-{n}", "k", 20.0, NOON) for n in range(3) for host in ("late", "lost")])
    run_command(environment, "rebuild")
    engine = create_engine(database_url)
    with engine.begin() as connection:
        # As if the worker had been killed before it wrote them.
        connection.execute(
            text("DELETE FROM temperature_aggregates_data WHERE " + of_series("hostname <> 'lost-1'"))
        )
        connection.execute(text("UPDATE temperature_aggregates_data SET last = 21"))
    engine.dispose()
    checks = tmp_path / "checks"
    with (workspace.plugins / "temperature" / "server.py").open("a") as server:
        server.write(RECORD_CHECKS)
    process = command_process(
        {**environment, "CHECKS": str(checks)}, tmp_path / "verify.log", "verify", "--json"
    )
    process.start()
    # It has compared what it found at first at least twice again.
    eventually(lambda: compared_at(checks), lambda times: bool(times) and times[-1] - times[0] > 4)
    for number in range(3):
        assert run_command(environment, "rebuild", "--host", f"late-{number}").returncode == 0
    # Aggregates that are still missing after two session timeouts without any change are reported.
    assert process.wait(60) == 1
    *_, report = json.loads(process.log.read_text())
    found = {each["host"]: each["stored"] and each["stored"]["last"] for each in report["differences"]}
    assert found == {"lost-0": None, "lost-1": 21, "lost-2": None}
