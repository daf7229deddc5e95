"""The collector of the demo."""

import base64
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest
from confluent_kafka import Producer
from Crypto.Cipher import PKCS1_OAEP
from Crypto.PublicKey import RSA

from demo.collector import load_archive, make_record, produce
from demo.simulation import SILENT_HOST, SILENT_SECONDS, history, simulated_readings
from sparkle_app.collector_config import make_config
from sparkle_app.plugin.manifest import find_packages
from tests.support.keys import private_key_pem

KEY = RSA.import_key(private_key_pem())
PROJECT = Path(__file__).parents[2]
NO_BROKER = "127.0.0.1:21099"
"""An address at which no broker listens."""
WHEN = datetime(2026, 11, 23, 12, 0, 0, 5)
NOW = 1_800_000_000.0

pytestmark = pytest.mark.usefixtures("collector_imports")


def test_a_record_has_the_wire_format() -> None:
    record = json.loads(make_record(KEY.public_key(), 7, "хост", WHEN, "Temperature", "k", 1.5))
    assert set(record) == {"config_id", "hostname", "datetime", "payload"}
    assert (record["config_id"], record["hostname"], record["datetime"]) == (
        7,
        "хост",
        "2026-11-23T12:00:00.000005",
    )
    inner = PKCS1_OAEP.new(KEY).decrypt(base64.b64decode(record["payload"]))
    assert json.loads(inner) == {"plugin": "Temperature", "key": "k", "value": 1.5}


def test_a_payload_may_have_at_most_214_bytes() -> None:
    empty = len(json.dumps({"plugin": "P", "key": "", "value": 1}))
    make_record(KEY.public_key(), 7, "h", WHEN, "P", "k" * (214 - empty), 1)
    with pytest.raises(ValueError, match="too long"):
        make_record(KEY.public_key(), 7, "h", WHEN, "P", "k" * (215 - empty), 1)


def test_an_archive_is_extracted_and_simulated_values_are_plausible(tmp_path: Path) -> None:
    plugins = find_packages(PROJECT / "plugins").manifests
    made = make_config(plugins, address="h", port=1, interval=5, output=tmp_path, certs=tmp_path / "certs")
    archive = load_archive(made.archive, tmp_path / "unpacked")
    assert archive.config["id"] == made.config_id
    assert [plugin.NAME for plugin in archive.plugins] == ["PU_Workload", "Temperature"]
    readings = list(simulated_readings(archive.plugins, 3, random.Random(1), NOW))
    assert {reading[0] for reading in readings} == {"host-001", "host-002", "host-003"}
    assert len(readings) == 3 * (1 + 4 * 2), (
        "the load of the processor, and load and temperature of each core"
    )
    for _, plugin, _, value in readings:
        assert 0 <= value <= 100, plugin.NAME
    before = list(history(archive.plugins, 3, random.Random(1), NOW))
    assert max(at for at, _ in before) == NOW - 60
    assert min(at for at, _ in before) == NOW - 1800
    assert {reading[0] for _, reading in before} == {"host-001", "host-002", "host-003", SILENT_HOST}
    assert max(at for at, reading in before if reading[0] == SILENT_HOST) == NOW - SILENT_SECONDS


@pytest.mark.parametrize("filters", [True, False], ids=["filters", "no filters"])
def test_an_archive_cannot_write_outside_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filters: bool
) -> None:
    if not filters:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    elif not hasattr(tarfile, "data_filter"):
        pytest.skip("Python 3.11.4 brought the filters of tarfile")
    (tmp_path / "evil").write_text("x")
    with tarfile.open(tmp_path / "config.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "evil", "../outside")
    with pytest.raises(tarfile.OutsideDestinationError if filters else tarfile.ExtractError):
        load_archive(tmp_path / "config.tar.xz", tmp_path / "unpacked")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_without_filters_only_files_and_folders_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes
) -> None:
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    with tarfile.open(tmp_path / "config.tar.xz", "w:xz") as archive:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "../outside"
        archive.addfile(member)
    with pytest.raises(tarfile.ExtractError, match="'link': expected a file or folder"):
        load_archive(tmp_path / "config.tar.xz", tmp_path / "unpacked")


def collector(*options: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "demo.collector", *options]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=PROJECT, timeout=timeout)


@pytest.mark.parametrize(
    ("content", "error"), [(None, "No such file"), (b"junk", "ReadError"), (b"", "ReadError")]
)
def test_an_invalid_archive_is_one_clear_line(tmp_path: Path, content: bytes | None, error: str) -> None:
    file = tmp_path / "config.tar.xz"
    if content is not None:
        file.write_bytes(content)
    done = collector("--archive", str(file), "--folder", str(tmp_path / "unpacked"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"{file}: expected a config archive, found ")
    assert error in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_collector_imports_nothing_of_the_handler() -> None:
    code = (
        "import sys, demo.collector; print([name for name in sys.modules if name.startswith('sparkle_app')])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=PROJECT, timeout=60
    )
    assert run.stdout.strip() == "[]"


def test_the_plugins_are_imported_from_the_archive(tmp_path: Path) -> None:
    plugins = find_packages(PROJECT / "plugins").manifests
    made = make_config(plugins, address="h", port=1, interval=5, output=tmp_path, certs=tmp_path / "certs")
    code = (
        "import sys; from pathlib import Path; from demo.collector import load_archive;"
        " archive = load_archive(Path(sys.argv[1]), Path(sys.argv[2]));"
        " print([plugin.__file__ for plugin in archive.plugins if plugin.get_payload])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(made.archive), str(tmp_path / "unpacked")],
        # As in the environment of a handler.
        env={**os.environ, "SPARKLE_M_SERVER": "1"},
        check=True,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=60,
    )
    folder = tmp_path / "unpacked" / "plugins"
    assert run.stdout.strip() == str(
        [str(folder / name / "__init__.py") for name in ("pu_workload", "temperature")]
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_collector_in_time_while_the_broker_is_unreachable(
    tmp_path: Path, number: signal.Signals
) -> None:
    plugins = find_packages(PROJECT / "plugins").manifests
    made = make_config(plugins, address="h", port=1, interval=5, output=tmp_path, certs=tmp_path / "certs")
    options = ["--archive", str(made.archive), "--folder", str(tmp_path / "unpacked"), "--hosts", "2"]
    command = [sys.executable, "-m", "demo.collector", *options, "--server", NO_BROKER, "--interval", "1"]
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "2 simulated hosts, every 1.0 s to " + NO_BROKER in process.stderr.readline()
            assert f"{NO_BROKER}: no broker responds; retrying until one does" in process.stderr.readline()
            process.send_signal(number)
            # After ten seconds, Docker kills a process.
            _, rest = process.communicate(timeout=10)
            assert (process.returncode, rest) == (0, "")
        finally:
            process.kill()


def test_with_a_full_queue_produce_waits_until_stopped() -> None:
    producer = Producer({"bootstrap.servers": NO_BROKER, "queue.buffering.max.messages": 2, "log_level": 0})
    stop = threading.Event()
    for _ in range(2):
        produce(producer, "t", b"x", stop, NOW)
    threading.Timer(1, stop.set).start()
    started = time.monotonic()
    produce(producer, "t", b"x", stop, NOW)
    assert time.monotonic() - started >= 0.9
    assert len(producer) == 2
    producer.purge()
