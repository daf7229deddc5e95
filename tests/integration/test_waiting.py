"""verify and rebuild where workers or the database make them wait, or it refuses; and ended with Ctrl-C."""

import json
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.support.database import count
from tests.support.eventually import eventually
from tests.support.postgres import PostgresServer
from tests.support.rows import store
from tests.support.worker import Workspace, command_process, run_command

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOWHERE = "127.0.0.1:1"
SECONDS = 5
"""Within which it has to end; a wait for a lock takes longer."""
ONLY_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@ONLY_POSTGRESQL
def test_what_was_committed_stays_and_the_rest_is_mended_later(
    database_url: str, workspace: Workspace, tmp_path: Path
) -> None:
    environment = workspace.environment(NOWHERE, database_url)
    # 500 hosts are mended together, and then the last one alone.
    store(database_url, [(f"host-{n:03}", "k", 20.0, NOON) for n in range(501)])
    run_command(environment, "rebuild", "--plugin", "Temperature")
    process = command_process(environment, tmp_path / "rebuild.log", "rebuild", "--plugin", "Temperature")
    wrong = "SELECT * FROM temperature_aggregates WHERE last <> 20"
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE temperature_aggregates SET last = 21"))
    with engine.connect() as connection:
        connection.execute(
            text("SELECT 1 FROM temperature_aggregates WHERE hostname = 'host-500' FOR UPDATE")
        )
        process.start()
        eventually(lambda: count(database_url, f"({wrong}) AS wrong"), lambda found: found == 1)
        process.send_only(signal.SIGINT)
        assert process.wait(SECONDS) == 130
    engine.dispose()
    assert process.tail().endswith("rebuild.log:\n"), "Ctrl-C needs no explanation"
    assert count(database_url, f"({wrong}) AS wrong") == 1
    rest = run_command(environment, "rebuild", "--plugin", "Temperature")
    assert rest.stdout == "Temperature: 501 readings, 1 aggregates made anew\n"
    assert count(database_url, f"({wrong}) AS wrong") == 0


def test_a_server_that_hangs_cannot_hold_it(
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


ASKED = """

def _told(connection, start, end, hostname, ask=plugin.count_readings):
    print("limit", connection.exec_driver_sql("SHOW statement_timeout").scalar(), "host", hostname)
    return ask(connection, start, end, hostname)

plugin.count_readings = _told
"""


@ONLY_POSTGRESQL
def test_its_statements_may_take_their_time_and_ask_for_one_host_alone(
    database_url: str, workspace: Workspace
) -> None:
    environment = workspace.environment(NOWHERE, database_url)
    store(database_url, [(f"host-{n}", "k", 20.0, NOON) for n in range(3)])
    with (workspace.plugins / "temperature" / "server.py").open("a") as server:
        server.write(ASKED)
    one = run_command(environment, "rebuild", "--plugin", "Temperature", "--host", "host-1")
    asked = "limit 0 host host-1\n"
    assert one.stdout == f"{asked * 2}Temperature: 1 readings, 1 aggregates made anew\n", one.stderr
    rest = run_command(environment, "rebuild", "--plugin", "Temperature")
    assert rest.stdout == "limit 0 host None\nTemperature: 3 readings, 2 aggregates made anew\n", rest.stderr


@ONLY_POSTGRESQL
def test_who_holds_a_lock_for_a_while_is_waited_for(database_url: str, workspace: Workspace) -> None:
    environment = workspace.environment(NOWHERE, database_url)
    store(database_url, [("host-1", "k", 20.0, NOON)])
    run_command(environment, "rebuild")
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE temperature_aggregates SET last = 21"))
    connection = engine.connect()
    connection.execute(text("SELECT 1 FROM temperature_aggregates FOR UPDATE"))
    # Longer than PostgreSQL lets a statement of ours wait for a lock.
    release = threading.Timer(14, connection.close)
    release.start()
    mended = run_command(environment, "rebuild", "--plugin", "Temperature")
    release.join()
    engine.dispose()
    assert mended.stdout == "Temperature: 1 readings, 1 aggregates made anew\n", mended.stderr


def test_what_the_database_refuses_it_says_itself(database_url: str, workspace: Workspace) -> None:
    done = run_command(workspace.environment(NOWHERE, database_url), "verify")
    assert done.returncode == 1
    place, _, said = done.stderr.partition(", found ")
    assert place == f"database: expected {database_url} to do as it is asked"
    refused = "no such table: pu_workload_readings"
    if database_url.startswith("postgresql"):
        refused = 'relation "pu_workload_readings" does not exist'
    assert said == f"{refused}; mend that and run it again; a worker makes tables that are missing\n"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_aggregates_that_come_late_are_waited_for(
    database_url: str, workspace: Workspace, tmp_path: Path
) -> None:
    environment = workspace.environment(NOWHERE, database_url)
    store(database_url, [(f"{host}-{n}", "k", 20.0, NOON) for n in range(3) for host in ("late", "lost")])
    run_command(environment, "rebuild")
    engine = create_engine(database_url)
    with engine.begin() as connection:
        # As if their worker had been killed before it aggregated them.
        connection.execute(text("DELETE FROM temperature_aggregates WHERE hostname <> 'lost-1'"))
        connection.execute(text("UPDATE temperature_aggregates SET last = 21"))
    engine.dispose()
    process = command_process(environment, tmp_path / "verify.log", "verify", "--json")
    process.start()
    # The time that another takes to take over.
    time.sleep(20)
    for number in range(3):
        assert run_command(environment, "rebuild", "--host", f"late-{number}").returncode == 0
    # What has not come when nothing has for half a minute never will.
    assert process.wait(60) == 1
    *_, report = json.loads(process.log.read_text())
    found = {each["host"]: each["stored"] and each["stored"]["last"] for each in report["differences"]}
    assert found == {"lost-0": None, "lost-1": 21, "lost-2": None}
