"""``check`` reports what would stop a worker, and changes nothing."""

import json
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.processes import free_port
from tests.support.worker import PROJECT, Workspace, run_command


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_check_reports_what_would_stop_a_worker(
    broker: Broker, workspace: Workspace, database_url: str
) -> None:
    environment = workspace.environment(broker.bootstrap, database_url)
    without_key = run_command(environment, "check")
    assert without_key.returncode == 1
    assert "ERROR keys:" in without_key.stdout
    assert without_key.stdout.splitlines()[-1] == "1 error"
    Collector(workspace.certs)
    valid = run_command(environment, "check")
    assert (valid.returncode, valid.stderr) == (0, "")
    *lines, summary = valid.stdout.splitlines()
    assert summary == "all checks passed"
    (settings,) = (line for line in lines if line.startswith("ok    settings:"))
    assert f"broker.url={broker.bootstrap}" in settings
    assert "=None" not in settings
    assert "web.host" not in settings
    assert all(line.startswith("ok ") for line in lines), valid.stdout
    assert {line.split()[1].rstrip(":") for line in lines} >= {
        "settings",
        "plugin",
        "keys",
        "data",
        "database",
        "broker",
    }
    (workspace.folder / "file").touch()
    no_data_folder = workspace.environment(
        broker.bootstrap, database_url, data=workspace.folder / "file" / "data"
    )
    assert (
        f"ERROR data: data: expected a writable folder, found {workspace.folder}/file, which is a file"
        in (run_command(no_data_folder, "check").stdout)
    )
    no_broker = workspace.environment(f"127.0.0.1:{free_port()}", database_url)
    failed = run_command(no_broker, "check")
    assert failed.returncode == 1
    assert "ERROR broker: broker.url: expected a broker at" in failed.stdout
    assert "Traceback" not in failed.stdout + failed.stderr
    (error,) = (
        each for each in json.loads(run_command(no_broker, "check", "--json").stdout) if not each["ok"]
    )
    (settings_of_json,) = (
        each["text"]
        for each in json.loads(run_command(no_broker, "check", "--json").stdout)
        if each["what"] == "settings"
    )
    assert "web.host=127.0.0.1" in settings_of_json
    # Faust's global option does the same.
    everywhere = subprocess.run(
        [sys.executable, "-m", "faust", "--json", "-A", "sparkle_app", "check"],
        capture_output=True, text=True, check=False, env=no_broker, cwd=PROJECT,
    )  # fmt: skip
    assert error in json.loads(everywhere.stdout)
    assert (error["what"], error["where"]) == ("broker", "broker.url")
    assert error["expected"] == f"a broker at {no_broker['SPARKLE_BROKER__URL']}"
    assert (error["found"], error["hint"]) == ("Connection refused", "start it, or correct the setting")
    usage = run_command(no_broker, "check", "--nonsense")
    assert usage.returncode == 2


def test_check_changes_nothing(broker: Broker, workspace: Workspace, tmp_path: Path) -> None:
    Collector(workspace.certs)
    before = sorted(tmp_path.rglob("*"))
    url = f"sqlite:///{tmp_path}/mistyped/folder/x.sqlite3"
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        environment = workspace.environment(broker.bootstrap, url, web__port=port)
        checked = run_command(environment, "check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert f"database: {url} does not exist yet; the first worker will create it" in checked.stdout
    assert f"web: http://127.0.0.1:{port} is in use" in checked.stdout
    assert f"the first worker will create {workspace.topic}" in checked.stdout
    assert [path for path in sorted(tmp_path.rglob("*")) if "__pycache__" not in path.parts] == before
    topics = AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10).topics
    assert not [name for name in topics if name.startswith(workspace.app_id)]


def test_check_reports_a_database_file_that_cannot_be_created(
    broker: Broker, workspace: Workspace, tmp_path: Path
) -> None:
    Collector(workspace.certs)
    (tmp_path / "file").touch()
    environment = workspace.environment(broker.bootstrap, f"sqlite:///{tmp_path}/file/folder/x.sqlite3")
    checked = run_command(environment, "check")
    assert checked.returncode == 1
    assert f"database.url: expected a folder {tmp_path}/file/folder to write to" in checked.stdout
    assert "found Not a directory" in checked.stdout


def test_an_address_on_the_command_line_requires_a_token_too(
    broker: Broker, workspace: Workspace, tmp_path: Path
) -> None:
    Collector(workspace.certs)
    environment = workspace.environment(broker.bootstrap, f"sqlite:///{tmp_path}/x.sqlite3")
    rejected = run_command(environment, "worker", "--web-bind", "0.0.0.0")
    assert rejected.returncode == 1
    assert "web.token: expected a token, since --web-bind is 0.0.0.0, found none" in rejected.stderr


def test_check_compares_the_number_of_brokers_with_the_replication_factor(
    broker: Broker, workspace: Workspace, tmp_path: Path
) -> None:
    Collector(workspace.certs)
    url = f"sqlite:///{tmp_path}/x.sqlite3"
    checked = run_command(workspace.environment(broker.bootstrap, url, broker__replication=3), "check")
    assert checked.returncode == 1
    assert "found 1 of the 3 brokers that broker.replication requires" in checked.stdout


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("postgresql://sparkle:S3cr@tPassw0rd@127.0.0.1/db", []),
        ("postgresql://sparkle:S3cr%40tPassw0rd@127.0.0.1:1/db?sslpassword=S3crtPassw0rd", ["--json"]),
        ("postgresql://sparkle@127.0.0.1:1/db?password=S3crtPassw0rd", []),
    ],
)
def test_check_shows_nothing_of_a_password(workspace: Workspace, url: str, options: list[str]) -> None:
    checked = run_command(workspace.environment(f"127.0.0.1:{free_port()}", url), "check", *options)
    assert checked.returncode == 1
    output = checked.stdout + checked.stderr
    assert "database.url" in output
    assert not [piece for piece in ("S3cr", "Passw0rd") if piece in output], output


@pytest.mark.parametrize("at", [0, 3])
def test_check_reports_a_damaged_sqlite_file(
    broker: Broker, workspace: Workspace, tmp_path: Path, at: int
) -> None:
    Collector(workspace.certs)
    file = tmp_path / "x.sqlite3"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE t (x)")
        database.executemany("INSERT INTO t VALUES (?)", [("x" * 100,)] * 1000)
        database.commit()
    environment = workspace.environment(broker.bootstrap, f"sqlite:///{file}")
    assert f"ok    database: sqlite:///{file}" in run_command(environment, "check").stdout
    content = bytearray(file.read_bytes())
    content[at * 4096 : at * 4096 + 100] = b"?" * 100
    file.write_bytes(content)
    checked = run_command(environment, "check")
    assert checked.returncode == 1
    assert "ERROR database: database.url: expected" in checked.stdout
    assert "Traceback" not in checked.stdout + checked.stderr
