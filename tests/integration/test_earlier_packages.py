"""Packages for the earlier handler load without changes, and store each reading once."""

import random
from collections import Counter
from datetime import datetime

import pytest

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import EVERY_DATABASE, count, query
from tests.support.earlier_packages import install
from tests.support.eventually import eventually
from tests.support.produce import consume_all, produce
from tests.support.worker import Workspace, run_command

# With the embedded broker, a restarted worker needs half a minute to rejoin the group: too long for `make test`.
pytestmark = pytest.mark.kafka


@EVERY_DATABASE
def test_readings_of_earlier_packages_are_stored_in_their_own_tables(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    install(workspace.plugins, workspace.topic)
    collector = Collector(workspace.certs)
    environment = workspace.environment(broker.bootstrap, database_url)
    checked = run_command(environment, "check").stdout
    assert f"plugin: Fans 2.1, topic {workspace.topic}" in checked
    assert f"plugin: Disks 0.9.3, topic {workspace.topic}" in checked
    worker = start_worker()
    now = datetime.now().replace(microsecond=0)
    records = [collector.record("host-1", "Fans", f"gpu{n}/fan/left", 1000 + n, now) for n in range(20)]
    records += [collector.record("host-2", "Disks", "sda", state, now) for state in ("healthy", 7, None, [1])]
    bad = collector.record("host-1", "Fans", "gpu0/fan/left", -1, now)
    produce(broker.bootstrap, workspace.topic, [*records, bad, *records])
    eventually(
        lambda: (count(database_url, "fans"), count(database_url, "disks_readings")), lambda n: n == (20, 4)
    )
    rows = query(database_url, "SELECT * FROM fans ORDER BY value")
    assert [
        (
            row["metric_root"],
            row["metric_main"],
            row["metric_details"],
            row["value"],
            row["hostname"],
            row["config_id"],
        )
        for row in rows
    ] == [(f"gpu{n}", "fan", "left", 1000.0 + n, "host-1", 1) for n in range(20)]
    # The host's local time, as the earlier handler passed it.
    assert {str(row["date"])[:19] for row in rows} == {str(now)}
    states = query(database_url, "SELECT state FROM disks_readings")
    assert {row["state"] for row in states} == {"healthy", "7", "None", "[1]"}
    (letter,) = eventually(lambda: consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters"), bool)
    assert dict(letter.headers)["sparkle-reason"] == b"refused_by_database"

    answer = eventually(
        lambda: worker.get("/api/v1/plugins/Fans/hosts/host-1"), lambda found: found[0] == 200
    )[1]
    assert {name: (each["count"], each["average"]) for name, each in answer["metrics"].items()} == {
        f"gpu{n}/fan/left": (1, 1000.0 + n) for n in range(20)
    }
    # Strings, null and lists are not aggregated.
    disks = eventually(
        lambda: worker.get("/api/v1/plugins/Disks/hosts/host-2"), lambda found: found[0] == 200
    )[1]
    assert {name: each["count"] for name, each in disks["metrics"].items()} == {"sda": 1}
    readings = worker.get("/api/v1/plugins/Disks/hosts/host-2/readings")[1]["readings"]
    assert sorted(str(each["value"]) for each in readings) == ["7", "None", "[1]", "healthy"]
    verified = run_command(environment, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "Fans: 20 readings, 20 aggregates, 0 differences" in verified.stdout


@EVERY_DATABASE
def test_a_value_rejected_by_a_column_is_one_dead_letter_and_the_next_record_is_stored(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    install(workspace.plugins, workspace.topic)
    collector = Collector(workspace.certs)
    worker = start_worker()
    # The package logs it itself.
    worker.expected = ["ERROR plugins.pumps.server: not stored"]
    # No database accepts these values in a numeric column; for again/1, Doors queries a row that does not exist.
    bad: list[tuple[str, str, object]] = []
    bad += [(name, "1", value) for name in ("Pumps", "Doors", "Fans") for value in ({"a": 1}, [1.0])]
    bad += [("Doors", "again/1", 2)]
    if database_url.startswith("postgresql"):
        # SQLite stores a boolean or a string in a numeric column.
        bad += [(name, "1", value) for name in ("Pumps", "Doors") for value in (True, "high")]
    records = [collector.record("host-1", *reading) for reading in bad]
    good = [collector.record("host-2", "Pumps", "1", float(n)) for n in range(20)]
    good += [collector.record("host-2", "Doors", str(n), n) for n in range(20)]
    # All in one partition, so that each rejected record is followed by others.
    placed = produce(broker.bootstrap, workspace.topic, [*good[::2], *records, *good[1::2]], partition=0)
    eventually(lambda: (count(database_url, "pumps"), count(database_url, "doors")), lambda n: n == (20, 20))
    letters = consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters")
    # A key ends with the timestamp of the record.
    assert {(letter.key or b"").partition(b"@")[0] for letter in letters} == {
        f"{workspace.topic}/{partition}/{offset}".encode() for partition, offset in placed[20:-20]
    }
    assert {dict(letter.headers)["sparkle-reason"] for letter in letters} == {b"refused_by_database"}
    assert [row["level"] for row in query(database_url, "SELECT level FROM pumps ORDER BY level")] == [
        float(n) for n in range(20)
    ]


def wait_for_more(url: str, table: str, rows: int) -> None:
    eventually(lambda: count(url, table), lambda found: found > rows)


@EVERY_DATABASE
def test_each_reading_is_one_row_of_its_package_after_workers_were_killed(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    install(workspace.plugins, workspace.topic)
    collector = Collector(workspace.certs)
    chance = random.Random(1)
    worker = start_worker(ingest__batch_size=50)
    sent: Counter[float] = Counter()
    for _ in range(2):
        values = [round(chance.uniform(0, 1e6), 3) for _ in range(1500)]
        sent.update(values)
        records = [
            collector.record(f"host-{n % 9}", chance.choice(("Fans", "Disks")), f"gpu{n % 3}/fan", value)
            for n, value in enumerate(values)
        ]
        before = count(database_url, "fans")
        produce(broker.bootstrap, workspace.topic, records)
        wait_for_more(database_url, "fans", before)
        worker.kill()
        done = count(database_url, "fans") + count(database_url, "disks_readings")
        assert done < sent.total(), "nothing was left to do"
        worker = start_worker(ready=False, ingest__batch_size=50)

    def stored() -> Counter[float]:
        fans = [row["value"] for row in query(database_url, "SELECT value FROM fans")]
        disks = [float(row["state"]) for row in query(database_url, "SELECT state FROM disks_readings")]
        return Counter(fans + disks)

    assert eventually(stored, lambda found: found.total() >= sent.total(), 120) == sent
