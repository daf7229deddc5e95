"""The statements and commands of docs/migration.md, on tables as the earlier handler made them."""

import re
import uuid
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from Crypto.PublicKey import RSA
from sqlalchemy import Column, DateTime, Float, Integer, MetaData, String, Table, Uuid, create_engine, text

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.worker import PROJECT, Workspace, run_command

# The embedded broker takes half a minute to let a worker start again: too long for the quick tests.
pytestmark = pytest.mark.kafka

NOON = datetime(2026, 1, 15, 12, 0, 30, 250_000)


def statement(dialect: str) -> str:
    """As a person copies it from the document."""
    document = (PROJECT / "docs" / "migration.md").read_text("utf-8")
    found = re.search(dialect + r":\n\n```sql\n(.+?)```", document, re.DOTALL)
    assert found
    return found[1]


def earlier_table(url: str) -> None:
    """Five hosts' readings of two metrics, one of them without details, each ten seconds."""
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


def migrate(url: str) -> int:
    engine = create_engine(url)
    with engine.begin() as connection:
        changed = connection.execute(
            text(statement("SQLite" if url.startswith("sqlite") else "PostgreSQL"))
        ).rowcount
    engine.dispose()
    return changed


def test_readings_come_along_once_and_have_aggregates(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    Collector(workspace.certs)
    assert start_worker().terminate() == 0
    earlier_table(database_url)
    assert migrate(database_url) == 200
    assert migrate(database_url) == 0
    environment = workspace.environment(broker.bootstrap, database_url)
    rebuilt = run_command(environment, "rebuild", "--plugin", "Temperature")
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
    assert run_command(environment, "verify", "--plugin", "Temperature").returncode == 0
    assert count(database_url, "temperature_readings") == 200
    metrics = query(database_url, "SELECT metric, count(*) AS n FROM temperature_readings GROUP BY metric")
    assert {row["metric"]: row["n"] for row in metrics} == {
        "coretemp/Core 0": 100,
        "coretemp/Core 0/high": 100,
    }
    counted = query(database_url, 'SELECT sum("count") AS n, sum(sum) AS s FROM temperature_aggregates')[0]
    assert (counted["n"], counted["s"]) == (200, sum(range(200)))
    worker = start_worker()
    # Noon in the zone that the statement names is nine o'clock in UTC.
    path = (
        "/api/v1/plugins/Temperature/hosts/host-0/readings?from=2026-01-15T09:00:00Z&to=2026-01-15T10:00:00Z"
    )
    readings = worker.get(path)[1]["readings"]
    assert [each["value"] for each in readings] == [float(n) for n in range(0, 200, 5)]
    assert readings[0]["observed_at"].startswith("2026-01-15T09:00:30.25")


def test_its_folder_of_keys_is_read_as_it_is(
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
