"""A worker that cannot start exits with one line."""

import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count
from tests.support.eventually import eventually
from tests.support.postgres import GUEST, PostgresServer
from tests.support.processes import free_port
from tests.support.produce import produce
from tests.support.worker import Worker, Workspace, run_command

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def log_of(worker: Worker) -> str:
    """The log of a worker that must exit with code 1."""
    return worker.wait_failure()


@pytest.mark.parametrize(
    ("what", "settings"),
    [
        ("broker", {"broker__url": "127.0.0.1:{port}", "broker__wait_seconds": 4}),
        (
            "database",
            {
                "database__url": "postgresql+psycopg2://me:secret@127.0.0.1:{port}/x",
                "database__wait_seconds": 4,
            },
        ),
    ],
)
def test_a_worker_waits_for_broker_and_database_for_a_limited_time(
    workspace: Workspace, start_worker: StartWorker, what: str, settings: dict[str, Any]
) -> None:
    Collector(workspace.certs)
    closed = {name: str(value).format(port=free_port()) for name, value in settings.items()}
    log = log_of(start_worker(ready=False, **closed))
    url = closed[f"{what}__url"].replace("secret", "***")
    assert log.count(f"waiting for the {what} at {url}") >= 2
    last = log.strip().splitlines()[-1]
    assert f"{what}.url: expected the {what} at {url} within 4 s, found" in last
    assert "start it, or correct the setting" in last
    assert "secret" not in log


@pytest.mark.any_broker
def test_a_wrong_database_password_ends_a_worker_at_once(
    workspace: Workspace, start_worker: StartWorker, postgres: PostgresServer
) -> None:
    Collector(workspace.certs)
    url = postgres.url("postgres").replace("postgres@", f"{GUEST}:hunter2@")
    log = log_of(start_worker(ready=False, database__url=url))
    assert "waiting for the database" not in log
    last = log.strip().splitlines()[-1]
    shown = url.replace("hunter2", "***")
    assert f"database.url: expected {shown} to accept the user name and the password, found" in last
    assert 'password authentication failed for user "guest"' in last
    assert "hunter2" not in log


@pytest.mark.parametrize(
    ("options", "own", "libraries"),
    [(["-l", "debug"], True, True), (["-l", "error"], False, False), ([], True, False)],
)
def test_the_options_of_the_worker_for_logging(
    workspace: Workspace, database_url: str, options: list[str], own: bool, libraries: bool
) -> None:
    Collector(workspace.certs)
    file = workspace.folder / "worker.log"
    environment = workspace.environment(f"127.0.0.1:{free_port()}", database_url, broker__wait_seconds=0.1)
    environment["SPARKLE_WEB__PORT"] = str(free_port())
    ended = run_command(environment, "worker", "-f", str(file), *options)
    log = file.read_text("utf-8")
    assert ended.returncode == 1
    assert ("INFO sparkle_app" in log) is own
    assert ("DEBUG asyncio" in log) is libraries
    assert "broker.url: expected the broker" in log.strip().splitlines()[-1]
    assert ended.stderr == ""


def test_a_log_file_that_cannot_be_written_to_is_an_error_of_one_line(
    workspace: Workspace, database_url: str
) -> None:
    environment = workspace.environment("127.0.0.1:1", database_url)
    ended = run_command(environment, "worker", "-f", "/nowhere/worker.log")
    assert ended.returncode == 1
    assert ended.stderr.startswith(
        "--logfile: expected a file to write to, found /nowhere/worker.log: No such"
    )
    assert ended.stderr.count("\n") == 1


def test_the_option_for_the_data_folder_names_the_setting(workspace: Workspace, database_url: str) -> None:
    environment = workspace.environment("127.0.0.1:1", database_url, broker__wait_seconds=1)
    ended = run_command(environment, "--datadir", "/elsewhere", "worker")
    assert ended.returncode == 1
    assert "warning: --datadir has no effect; set SPARKLE_DATA, or the setting data\n" in ended.stderr
    assert not Path("/elsewhere").exists()


@pytest.mark.kafka
def test_a_lost_internal_key_is_not_replaced(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    collector = Collector(workspace.certs)
    start_worker().kill()
    key = workspace.certs / "internal_key"
    backup = workspace.folder / "internal_key"
    # Without messages in the topics, another key does no harm.
    key.rename(backup)
    worker = start_worker()
    assert key.exists()
    produce(broker.bootstrap, workspace.topic, [collector.record("host", "Temperature", "k", 20.0)])
    eventually(lambda: count(database_url, "temperature_aggregates"), lambda found: found == 1)
    worker.kill()
    key.replace(backup)
    says = f"{key}: expected the key of the messages in topic {workspace.app_id}-"
    assert says in log_of(start_worker(ready=False)).strip().splitlines()[-1]
    environment = workspace.environment(broker.bootstrap, database_url)
    assert f"ERROR internal key: {says}" in run_command(environment, "check").stdout
    assert f"`cp -n BACKUP/internal_key {workspace.certs}/`" in run_command(environment, "check").stdout
    assert not key.exists()
    subprocess.run(["cp", "-n", str(backup), str(workspace.certs)], check=True)
    start_worker()


def damaged(certs: Path) -> None:
    Collector(certs)
    (certs / "rsa_key_2").write_text("junk")


@pytest.mark.any_broker
@pytest.mark.parametrize(
    ("prepare", "settings", "says"),
    [
        (lambda _: None, {}, "certs: expected private keys named rsa_key_<id>, found none"),
        (damaged, {}, "rsa_key_2: expected an RSA private key in PEM, found other content"),
        (Collector, {"broker__partitons": 3}, "SPARKLE_BROKER__PARTITONS: expected a known setting"),
        (Collector, {"web__port_": 3}, "did you mean SPARKLE_WEB__PORT?"),
        (Collector, {"database__url": "nonsense"}, "database.url: expected a SQLAlchemy URL"),
        (Collector, {"plugins": "/nowhere"}, "/nowhere: expected a folder of plugins, found no such folder"),
    ],
)
def test_a_configuration_error_is_one_line(
    workspace: Workspace, start_worker: StartWorker, prepare: Any, settings: dict[str, Any], says: str
) -> None:
    prepare(workspace.certs)
    assert says in log_of(start_worker(ready=False, **settings)).strip().splitlines()[-1]


@pytest.mark.any_broker
def test_the_data_folder_is_created_or_named_in_the_error(
    tmp_path: Path, workspace: Workspace, start_worker: StartWorker
) -> None:
    Collector(workspace.certs)
    start_worker(data=tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    (tmp_path / "file").touch()
    log = log_of(start_worker(ready=False, data=tmp_path / "file" / "data"))
    assert f"data: expected a writable folder, found {tmp_path}/file/data: Not a directory;" in log


@pytest.mark.any_broker
def test_the_error_names_a_web_port_that_is_in_use(workspace: Workspace, start_worker: StartWorker) -> None:
    Collector(workspace.certs)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        log = log_of(start_worker(ready=False, port=port))
    assert f"web.port: expected to listen on 127.0.0.1, port {port}, found Address already in use" in log


def test_a_topic_with_another_number_of_partitions_is_an_error(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    Collector(workspace.certs)
    start_worker().kill()
    log = log_of(start_worker(ready=False, broker__partitions=5))
    checked = run_command(
        workspace.environment(broker.bootstrap, database_url, broker__partitions=5), "check"
    )
    assert checked.returncode == 1
    for said in (log, checked.stdout):
        assert "broker.partitions: expected 5 partitions of topic" in said
        assert "found 4; set broker.partitions to 4" in said


@pytest.mark.any_broker
def test_a_broken_plugin_is_reported_and_the_others_are_loaded(
    workspace: Workspace, start_worker: StartWorker
) -> None:
    Collector(workspace.certs)
    broken = workspace.plugins / "broken"
    broken.mkdir()
    (broken / "__init__.py").write_text("import no_such_module")
    (broken / "manifest.py").write_text(
        f'NAME, VERSION, AUTHOR = "Broken", "1", "me"\nTOPIC = "{workspace.topic}"\n'
    )
    worker = start_worker()
    assert "plugin Broken" in worker.process.log.read_text()
    assert "No module named 'no_such_module'" in worker.process.log.read_text()
    names = [plugin["name"] for plugin in worker.get("/api/v1/plugins")[1]["plugins"]]
    assert names == ["PU_Workload", "Temperature"]


@pytest.mark.parametrize("several", [True, False])
def test_sigterm_stops_a_worker_gracefully(
    workspace: Workspace, start_worker: StartWorker, several: bool
) -> None:
    Collector(workspace.certs)
    worker = start_worker(ingest__multibuffer=several)
    assert worker.terminate() == 0
    log = worker.process.log.read_text()
    # If the setting is false, the worker does not check whether the machine supports multi-buffer RSA.
    assert ("decrypting one reading at a time: ingest.multibuffer is false" in log) is not several
    assert log.count(": decrypting ") == 1


@pytest.mark.any_broker
@pytest.mark.parametrize(
    ("command", "names"), [("agents", ("ingest-", "aggregate-Temperature")), ("tables", ("PU_Workload-60s",))]
)
def test_agents_and_tables_have_readable_names(
    broker: Broker, workspace: Workspace, database_url: str, command: str, names: tuple[str, ...]
) -> None:
    listed = run_command(workspace.environment(broker.bootstrap, database_url), command)
    assert listed.returncode == 0
    for name in names:
        assert name in listed.stdout
