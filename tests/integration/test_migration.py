"""The statements and commands of docs/migration.md, with tables as the earlier handler created them."""

import csv
import re
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from Crypto.PublicKey import RSA
from sqlalchemy import Column, DateTime, Float, Integer, MetaData, String, Table, Uuid, create_engine, text

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.kafka import consumer_groups
from tests.support.produce import create_topic, produce
from tests.support.worker import PROJECT, Workspace, run_command

# With the embedded broker, a restarted worker needs half a minute to rejoin the group: too long for `make test`.
pytestmark = pytest.mark.kafka

NOON = datetime(2026, 1, 15, 12, 0, 30, 250_000)


def statement(dialect: str) -> str:
    """The SQL statement for a database, read from docs/migration.md."""
    document = (PROJECT / "docs" / "migration.md").read_text("utf-8")
    found = re.search(dialect + r":\n\n```sql\n(.+?)```", document, re.DOTALL)
    assert found
    return found[1]


def earlier_table(url: str) -> None:
    """Create a table of the earlier handler: 200 readings of five hosts, ten seconds apart, half without details."""
    engine = create_engine(url)
    table = Table(
        "temperature",
        MetaData(),
        Column("id", Uuid, primary_key=True),
        Column("config_id", Integer),
        Column("date", DateTime),
        Column("hostname", String),
        Column("metric_root", String),
        Column("metric_main", String),
        Column("metric_details", String),
        Column("value", Float),
    )
    table.create(engine)
    rows = [
        {
            "id": uuid.uuid4(),
            "config_id": 7,
            "date": NOON + timedelta(seconds=10 * n),
            "hostname": f"host-{n % 5}",
            "metric_root": "coretemp",
            "metric_main": "Core 0",
            "metric_details": "high" if n % 2 else None,
            "value": float(n),
        }
        for n in range(200)
    ]
    with engine.begin() as connection:
        connection.execute(table.insert(), rows)
    engine.dispose()


def handled_by_the_earlier_one(bootstrap: str, topic: str, group: str, records: list[bytes]) -> None:
    """Produce records to three of four partitions, and commit the offsets after them, as the earlier handler has."""
    create_topic(bootstrap, topic, 4)
    for partition in range(3):
        produce(bootstrap, topic, records[partition::3], partition=partition)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    ends = [TopicPartition(topic, partition, len(records[partition::3])) for partition in range(3)]
    consumer.commit(offsets=ends, asynchronous=False)
    consumer.close()


def hand_over(bootstrap: str, topic: str, group: str, app_id: str, folder: Path) -> None:
    """Run the commands of docs/migration.md that copy the offsets, with the names of this test."""
    document = (PROJECT / "docs" / "migration.md").read_text("utf-8")
    found = re.search(r"```\n(kafka-consumer-groups.sh .+?)```", document, re.DOTALL)
    assert found
    script = found[1]
    names = {
        "kafka:9092": bootstrap,
        "earlier": group,
        "telemetry": topic,
        "sparkle": app_id,
        "offsets.csv": folder / "o",
    }
    for name, own in names.items():
        assert f" {name}" in script
        script = script.replace(f" {name}", f" {own}")
    export, take = re.findall(r"kafka-consumer-groups.+?(?<!\\)\n", script, re.DOTALL)
    consumer_groups(export)
    offsets = (folder / "o").read_text()
    assert f"{topic},3,10" in offsets
    (folder / "o").write_text(offsets.replace(f"{topic},3,10", f"{topic},3,0"))
    consumer_groups(take)


def export(url: str, file: Path) -> None:
    """Write the earlier table to a CSV file, as the client of the database does."""
    engine = create_engine(url)
    with engine.connect() as connection, file.open("w", newline="") as csv_file:
        if url.startswith("sqlite"):
            found = connection.execute(text(statement("SQLite").replace(":", r"\:")))
            writer = csv.writer(csv_file)
            writer.writerow(found.keys())
            writer.writerows(found)
        else:
            driver: Any = connection.connection.driver_connection
            driver.cursor().copy_expert(statement("PostgreSQL"), csv_file)
    engine.dispose()


@pytest.mark.parametrize("takes_over_the_group", [False, True])
def test_migrated_readings_are_stored_once_and_aggregated(
    broker: Broker,
    database_url: str,
    workspace: Workspace,
    start_worker: StartWorker,
    tmp_path: Path,
    takes_over_the_group: bool,
) -> None:
    collector = Collector(workspace.certs)
    group = workspace.app_id if takes_over_the_group else f"{workspace.app_id}-earlier"
    stored = [collector.record("host-0", "Temperature", "coretemp/Core 0", float(n)) for n in range(200)]
    handled_by_the_earlier_one(broker.bootstrap, workspace.topic, group, stored)
    # Records produced after the earlier handler has stopped.
    for partition in range(4):
        later = [collector.record("host-9", "Temperature", "coretemp/Core 1", float(n)) for n in range(10)]
        produce(broker.bootstrap, workspace.topic, later, partition=partition)
    if not takes_over_the_group:
        hand_over(broker.bootstrap, workspace.topic, group, workspace.app_id, tmp_path)
    worker = start_worker()
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found >= 40)
    assert worker.terminate() == 0
    earlier_table(database_url)
    export(database_url, tmp_path / "temperature.csv")
    environment = workspace.environment(broker.bootstrap, database_url)
    for inserted in (200, 0):
        done = run_command(environment, "import", "Temperature", str(tmp_path / "temperature.csv"))
        assert f"{inserted} inserted" in done.stdout, done.stdout + done.stderr
    rebuilt = run_command(environment, "rebuild", "--plugin", "Temperature")
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
    assert run_command(environment, "verify", "--plugin", "Temperature").returncode == 0
    assert count(database_url, "temperature_readings") == 240
    metrics = query(database_url, "SELECT metric, count(*) AS n FROM temperature_readings GROUP BY metric")
    assert {row["metric"]: row["n"] for row in metrics} == {
        "coretemp/Core 0": 100,
        "coretemp/Core 0/high": 100,
        "coretemp/Core 1": 40,
    }
    counted = query(database_url, 'SELECT sum("count") AS n, sum(sum) AS s FROM temperature_aggregates')[0]
    assert (counted["n"], counted["s"]) == (240, sum(range(200)) + 4 * sum(range(10)))
    worker = start_worker()
    # Noon in the time zone of the statement is 09:00 UTC.
    path = (
        "/api/v1/plugins/Temperature/hosts/host-0/readings?from=2026-01-15T09:00:00Z&to=2026-01-15T10:00:00Z"
    )
    readings = worker.get(path)[1]["readings"]
    assert [each["value"] for each in readings] == [float(n) for n in range(0, 200, 5)]
    assert readings[0]["observed_at"].startswith("2026-01-15T09:00:30.25")


def test_private_keys_of_the_earlier_handler_need_no_conversion(
    broker: Broker, database_url: str, workspace: Workspace, tmp_path: Path
) -> None:
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    for number in (1, 7):
        pair = RSA.generate(2048)
        (certificates / f"rsa_key_{number}").write_bytes(pair.export_key())
        (certificates / f"rsa_key_{number}.pub").write_bytes(pair.public_key().export_key())
    (certificates / "README.txt").write_text("keys")
    for file in certificates.iterdir():
        (workspace.certs / file.name).write_bytes(file.read_bytes())
    checked = run_command(workspace.environment(broker.bootstrap, database_url), "check").stdout
    assert f"ok    keys: 2 private keys in {workspace.certs}" in checked
