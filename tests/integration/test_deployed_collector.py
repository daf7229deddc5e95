"""The deployed collector reads the config archive, and the handler stores its readings."""

import json
import os
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from tests.integration.conftest import StartWorker
from tests.support import deployed_collector
from tests.support.broker import Broker
from tests.support.collector import read_member
from tests.support.database import query
from tests.support.eventually import eventually
from tests.support.produce import consume_all
from tests.support.worker import PROJECT, Workspace


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_readings_of_the_deployed_collector_are_stored(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker, tmp_path: Path
) -> None:
    host = tmp_path / "host"
    command = [
        *(sys.executable, "gen_config.py", "--plugins", "Temperature,PU_Workload", "--address", "127.0.0.1"),
        *("--port", "9092", "--interval", "300", "--id", "7", "--output", str(host), "--yes"),
        *("--certs", str(workspace.certs), "--plugins-dir", str(workspace.plugins)),
    ]
    created = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT, timeout=60)
    assert created.returncode == 0, created.stderr
    with tarfile.open(host / "config.tar.xz") as archive:
        names = archive.getnames()
        config = yaml.safe_load(read_member(archive, "config.yaml"))
    assert {"config.yaml", "rsa_key.pub"} <= set(names)
    assert set(names) - {"config.yaml", "rsa_key.pub"} == {
        name for name in names if name.startswith("plugins/")
    }
    assert config == {
        "id": 7,
        "mq_server_address": "127.0.0.1",
        "mq_server_port": 9092,
        "send_data_interval": 300,
        "also_store_local": True,
        "required_plugins": ["Temperature", "PU_Workload"],
    }
    start_worker()
    # In the host's folder, without the handler's environment.
    environment = {
        key: value for key, value in os.environ.items() if key not in ("SPARKLE_M_SERVER", "PYTHONPATH")
    }
    done = subprocess.run(
        [sys.executable, "-I", deployed_collector.__file__, str(host), broker.bootstrap, "2"],
        capture_output=True, text=True, check=False, cwd=host, env=environment, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sent = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each for each in sent if each["key"] == "CPU/total"], "no CPU load was measured"
    assert {each["topic"] for each in sent} == {workspace.topic}
    records = consume_all(broker.bootstrap, workspace.topic)
    assert len(records) == len(sent)
    for record in records:
        assert record.key is None
        assert list(json.loads(record.value or b"")) == ["config_id", "hostname", "datetime", "payload"]

    def stored() -> list[tuple[str, str, float]]:
        return sorted(
            (plugin, row["metric"], row["value"])
            for plugin, table in (("Temperature", "temperature"), ("PU_Workload", "pu_workload"))
            for row in query(
                database_url, f"SELECT * FROM {table}_readings WHERE config_id = 7 AND hostname = :name",
                name=socket.gethostname(),
            )
        )  # fmt: skip

    expected = sorted((each["plugin"], each["key"], float(each["value"])) for each in sent)
    assert eventually(stored, lambda found: len(found) >= len(sent)) == expected
