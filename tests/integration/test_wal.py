"""A worker on SQLite while another program keeps a transaction open."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import requests

from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count
from tests.support.eventually import eventually
from tests.support.produce import produce
from tests.support.worker import Worker, Workspace, run_command

pytestmark = pytest.mark.any_broker

READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM temperature_readings").fetchall()
print("reads", flush=True)
sys.stdin.read()
"""
BLOBS = 280
"""Of a megabyte each."""


def test_a_worker_names_the_reader_and_empties_the_wal_after_it(
    broker: Broker, workspace: Workspace, tmp_path: Path
) -> None:
    collector = Collector(workspace.certs)
    file, wal = tmp_path / "x.sqlite3", tmp_path / "x.sqlite3-wal"
    url = f"sqlite:///{file}"
    environment = workspace.environment(broker.bootstrap, url)
    worker = Worker(environment, workspace.folder / "worker-1.log")

    def send(number: int) -> None:
        records = [collector.record("host", "Temperature", f"k{number}-{n}", 20.0) for n in range(20)]
        produce(broker.bootstrap, workspace.topic, records)
        eventually(lambda: count(url, "temperature_readings"), lambda rows: rows == 20 * number)

    try:
        worker.start()
        worker.wait_ready()
        log = worker.process.log
        with subprocess.Popen(
            [sys.executable, "-c", READER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as reader:
            assert reader.stdout
            assert reader.stdin
            assert reader.stdout.readline() == b"reads\n"
            with closing(sqlite3.connect(file, timeout=30)) as other:
                other.execute("CREATE TABLE blobs (x)")
                for _ in range(BLOBS):
                    other.execute("INSERT INTO blobs VALUES (zeroblob(1000000))")
                    other.commit()
            line = f"process {reader.pid} (python"
            eventually(lambda: line in log.read_text(), bool)
            assert f"{wal}: expected at most 256 MB of WAL, found 28" in log.read_text()
            # It stores readings meanwhile.
            send(1)
            status, health = worker.get("/health/ready")
            assert status == 200
            checked = run_command(environment, "check")
            assert (
                f"ok    database: warning: {wal}: expected at most 256 MB of WAL, found 28" in checked.stdout
            )
            assert line in checked.stdout
            assert line in health["warnings"]["wal"]
            metrics = requests.get(f"{worker.url}/metrics", timeout=10).text
            (size,) = (
                float(each.split()[1])
                for each in metrics.splitlines()
                if each.startswith("sparkle_sqlite_wal_bytes ")
            )
            assert size > BLOBS * 1_000_000
            reader.stdin.close()
        eventually(lambda: f"{wal}: 0 MB again after" in log.read_text(), bool)
        eventually(
            lambda: "wal" in worker.get("/health/ready")[1].get("warnings", {}), lambda found: not found
        )
        assert wal.stat().st_size < 10_000_000
        send(2)
        assert log.read_text().count("of WAL") == 1
    finally:
        worker.close()
