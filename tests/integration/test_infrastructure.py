"""The servers and helpers of the integration tests behave as these tests assume."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from tests.support.broker import Broker
from tests.support.postgres import PostgresServer
from tests.support.processes import PRELOADED, Process, free_port, run_program
from tests.support.produce import consume_all, create_topic, produce
from tests.support.worker import PROJECT


@pytest.fixture
def topic(broker: Broker) -> str:
    name = f"infrastructure-{uuid.uuid4().hex[:8]}"
    create_topic(broker.bootstrap, name, partitions=3)
    return name


def test_consumed_records_equal_the_produced_ones(broker: Broker, topic: str) -> None:
    headers = [("reason", b"not_json"), ("origin", bytes(range(256))), ("reason", b"again")]
    # In the past, so that they cannot be confused with the current time.
    times = [1_600_000_000_000 + index for index in range(3)]
    placed = produce(broker.bootstrap, topic, [b"a", b"", b"c"], times, partition=1, headers=headers)
    assert placed == [(1, 0), (1, 1), (1, 2)]
    records = consume_all(broker.bootstrap, topic)
    assert [(record.partition, record.offset) for record in records] == placed
    assert [record.value for record in records] == [b"a", b"", b"c"]
    assert [record.timestamp for record in records] == times
    assert [record.headers for record in records] == [headers] * 3


def test_all_partitions_are_consumed_to_their_end_offsets(broker: Broker, topic: str) -> None:
    values = [str(index).encode() for index in range(5000)]
    placed = [
        *produce(broker.bootstrap, topic, values[:2500], partition=0),
        *produce(broker.bootstrap, topic, values[2500:], partition=2),
    ]
    records = consume_all(broker.bootstrap, topic)
    assert len(records) == len(values)
    assert {(r.partition, r.offset): r.value for r in records} == dict(zip(placed, values, strict=True))


def test_consuming_a_missing_topic_returns_no_records_and_does_not_create_it(broker: Broker) -> None:
    name = f"infrastructure-{uuid.uuid4().hex[:8]}"
    assert consume_all(broker.bootstrap, name) == []
    create_topic(broker.bootstrap, name)


def test_a_killed_broker_restarts_at_the_same_address(
    make_broker: Callable[[Path], Broker], tmp_path: Path
) -> None:
    broker = make_broker(tmp_path)
    try:
        broker.start()
        create_topic(broker.bootstrap, "kept")
        produce(broker.bootstrap, "kept", [b"1", b"2"])
        address = broker.bootstrap
        broker.kill()
        broker.start()
        assert broker.bootstrap == address
        kept = [record.value for record in consume_all(broker.bootstrap, "kept")]
        assert kept == ([b"1", b"2"] if broker.durable else [])
        broker.stop()
    finally:
        broker.kill()


def test_each_database_is_empty_and_accepts_statements(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE readings (value float)"))
        connection.execute(text("INSERT INTO readings VALUES (36.6)"))
        assert connection.scalar(text("SELECT value FROM readings")) == 36.6
    engine.dispose()


def test_postgres_keeps_committed_rows_when_it_is_killed(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path)
    try:
        server.start()
        engine = create_engine(server.create_database("kept"))
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE readings AS SELECT generate_series(1, 1000) AS value"))
        held = engine.connect()
        held.execute(text("SELECT 1"))
        server.kill()
        with pytest.raises(OperationalError):
            held.execute(text("SELECT 1"))
        held.close()
        server.start()
        with engine.begin() as connection:
            assert connection.scalar(text("SELECT count(*) FROM readings")) == 1000
        # The open session of the connection pool must not delay the shutdown.
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 10
        engine.dispose()
    finally:
        server.remove()


@pytest.mark.parametrize("preloaded", [False, True])
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a process to its parent")
def test_child_processes_end_with_their_parent(tmp_path: Path, preloaded: bool) -> None:
    script = (
        "import pathlib, sys, time; from tests.support.processes import PRELOADED, Process;"
        "from tests.support.preloaded import PreloadedServer;"
        f"PRELOADED[:] = [PreloadedServer()] * {preloaded};"
        "command = [sys.executable, '-c', 'import time; time.sleep(600)'];"
        "p = Process('sleeper', command, pathlib.Path('sleeper.log')); p.start();"
        "print(p.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert parent.stdout
    child = int(parent.stdout.readline())
    assert psutil.pid_exists(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while _alive(child):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)


SHOW_ITSELF = """
import json, os, signal, sys
assert "sqlalchemy" not in globals()
print("to standard error", file=sys.stderr)
print(json.dumps({
    "arguments": sys.argv, "folder": os.getcwd(), "path": sys.path, "environment": dict(os.environ),
    "input": sys.stdin.read(), "ours": [name for name in sys.modules if name.startswith(("tests", "sparkle_app"))],
    "leads a session": os.getsid(0) == os.getpid(), "signals": str(signal.getsignal(signal.SIGINT)),
    "files": sorted(os.listdir("/proc/self/fd")), "blocked": sorted(map(int, signal.pthread_sigmask(0, []))),
}))
exec(sys.argv[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are not preloaded elsewhere")
@pytest.mark.parametrize("end", ["pass", "sys.exit(3)", "raise ValueError('no')", "os.kill(os.getpid(), 9)"])
def test_a_preloaded_process_is_like_any_other(tmp_path: Path, end: str) -> None:
    environment = {**os.environ, "ONLY_HERE": "1"}
    command = [sys.executable, "-c", SHOW_ITSELF, end]
    assert PRELOADED[0].supports(command, environment)
    forked = run_program(command, environment, tmp_path)
    own = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, start_new_session=True,
        # A shell may have started pytest in the background, where SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert forked.returncode == own.returncode
    assert forked.stdout == own.stdout
    assert forked.stderr.splitlines()[:1] == own.stderr.splitlines()[:1]
    assert forked.stderr.splitlines()[-1] == own.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["PYTHONUTF8", "LC_ALL", "LD_PRELOAD", "MALLOC_ARENA_MAX"])
def test_a_process_with_another_interpreter_is_not_preloaded(name: str) -> None:
    environment = dict(os.environ)
    command = [sys.executable, "-m", "faust"]
    assert PRELOADED[0].supports(command, environment) == (sys.platform == "linux")
    assert not PRELOADED[0].supports(command, environment | {name: "1"})
    assert not PRELOADED[0].supports(["faust"], environment)


def test_no_port_is_given_out_twice() -> None:
    # Among 2,000 random ones of 22,000 there are repetitions.
    ports = [free_port() for _ in range(2000)]
    assert len(set(ports)) == len(ports)


def test_an_unexpected_exit_is_reported_with_the_log(tmp_path: Path) -> None:
    process = Process("the server", ["sh", "-c", "echo no such file; exit 3"], tmp_path / "log")
    process.start()
    with pytest.raises(AssertionError, match=r"the server ended with exit code 3; .*\nno such file"):
        process.wait_until(lambda: False, "answer", 10)


def test_a_suspended_process_can_be_killed(tmp_path: Path) -> None:
    process = Process("a sleeper", ["sleep", "600"], tmp_path / "log")
    process.start()
    process.send(signal.SIGSTOP)
    process.kill()
    assert process.exit_code == -signal.SIGKILL


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
