"""verify finds wrong aggregates in SQL, and rebuild repairs them, while workers run."""

import json
import random
import threading
import time

import pytest
from sqlalchemy import create_engine, text

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import EVERY_DATABASE, count, of_series, query
from tests.support.eventually import eventually
from tests.support.produce import produce
from tests.support.worker import Workspace, run_command

# With the embedded broker, a worker needs half a minute to rejoin the group: too long for `make test`.
pytestmark = pytest.mark.kafka

HOSTS = 5


def change(url: str, *statements: str) -> None:
    engine = create_engine(url, connect_args={"timeout": 30} if url.startswith("sqlite") else {})
    with engine.begin() as connection:
        for statement in statements:
            assert connection.execute(text(statement)).rowcount, f"no row changed: {statement}"
    engine.dispose()


def aggregates(url: str) -> list[dict[str, object]]:
    rows = query(url, "SELECT * FROM temperature_aggregates ORDER BY hostname, metric, bucket_start")
    # The order in which floating-point numbers are added is not fixed.
    return [{**row, "sum": round(row["sum"], 6)} for row in rows]


@EVERY_DATABASE
def test_differences_are_found_and_repaired(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    collector = Collector(workspace.certs)
    chance = random.Random(1)
    start_worker()

    def send(number: int, prefix: str = "host") -> None:
        produce(
            broker.bootstrap,
            workspace.topic,
            [
                collector.record(f"{prefix}-{n % HOSTS}", "Temperature", f"k{n % 2}", chance.uniform(1, 99))
                for n in range(number)
            ],
        )

    send(400)
    counted = 'SELECT sum("count") AS n FROM temperature_aggregates'
    eventually(lambda: count(database_url, "temperature_aggregates"), bool)
    eventually(lambda: query(database_url, counted)[0]["n"], lambda n: n == 400)
    correct = aggregates(database_url)
    environment = workspace.environment(broker.bootstrap, database_url)
    done = run_command(environment, "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Temperature: 400 readings, {len(correct)} aggregates, 0 differences" in done.stdout
    assert "PU_Workload: 0 readings, 0 aggregates, 0 differences" in done.stdout
    assert done.stderr == "", "a progress bar in a pipe"

    change(
        database_url,
        "DELETE FROM temperature_aggregates_data WHERE " + of_series("hostname = 'host-0' AND metric = 'k0'"),
        'UPDATE temperature_aggregates_data SET "count" = "count" + 5, sum = sum + 5 WHERE '
        + of_series("hostname = 'host-1'"),
        "UPDATE temperature_aggregates_data SET last = last + 1 WHERE "
        + of_series("hostname = 'host-2' AND metric = 'k1'"),
    )
    # Meanwhile workers store readings of other hosts only: they would repair the aggregates that they update.
    stop = threading.Event()

    def send_steadily() -> None:
        while not stop.is_set():
            send(20, "busy")
            time.sleep(0.2)

    sender = threading.Thread(target=send_steadily)
    sender.start()
    try:
        found = run_command(environment, "verify", "--json", "--plugin", "Temperature", "--host", "host-2")
        assert found.returncode == 1, found.stdout + found.stderr
        (report,) = json.loads(found.stdout)
        assert {(each["host"], each["metric"]) for each in report["differences"]} == {("host-2", "k1")}
        each = report["differences"][0]
        assert each["stored"]["last"] == each["computed"]["last"] + 1
        assert each["stored"]["count"] == each["computed"]["count"]
        rebuilt = run_command(environment, "rebuild", "--plugin", "Temperature")
        assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
        assert "aggregates recomputed" in rebuilt.stdout
    finally:
        stop.set()
        sender.join()
    rows = count(database_url, "temperature_readings")
    assert rows > 400
    after = run_command(environment, "verify")
    assert after.returncode == 0, after.stdout + after.stderr
    assert query(database_url, counted)[0]["n"] == count(database_url, "temperature_readings")


def test_errors_are_one_clear_line(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    Collector(workspace.certs)
    environment = workspace.environment(broker.bootstrap, database_url)
    unknown = run_command(environment, "verify", "--plugin", "Fans")
    assert unknown.returncode == 2
    assert (
        unknown.stderr == "--plugin: expected one of PU_Workload, Temperature, found Fans;"
        " run check to see why a plugin is not installed\n"
    )
    # No worker has created the tables yet.
    no_tables = run_command(environment, "verify")
    assert no_tables.returncode == 2
    (line,) = no_tables.stderr.splitlines()
    assert line.startswith("database.url: expected a database at ")
    assert "that a worker has used, found none" in line
    assert run_command(environment, "migrate").returncode == 0
    reversed_range = run_command(environment, "verify", "--since", "2026-01-02", "--until", "2026-01-01")
    assert reversed_range.returncode == 2
    assert reversed_range.stderr == (
        "--until: expected a time after --since, 2026-01-02T00:00:00Z, found 2026-01-01T00:00:00Z;"
        " swap the two options, or omit one\n"
    )
    assert run_command(environment, "verify", "--limit", "-1").returncode == 2
    assert run_command(environment, "verify", "--most", "-1").returncode == 2
    assert run_command(environment, "verify", "--since", "yesterday").returncode == 2
