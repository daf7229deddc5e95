"""``python -m demo``, as a user runs it."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.database import query
from tests.support.eventually import eventually
from tests.support.processes import free_port
from tests.support.worker import PROJECT, run_command


@pytest.fixture
def ports() -> dict[str, str]:
    return {"DEMO_BROKER_PORT": str(free_port()), "DEMO_WEB_PORT": str(free_port())}


@contextlib.contextmanager
def demo(ports: dict[str, str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The running demo; its output goes to a file."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo", "--hosts", "3"],
            cwd=PROJECT,
            # It does not use the settings of its user.
            env={**os.environ, **ports, "SPARKLE_WEB__TOKEN": "secret", "SPARKLE_SETTINGS": "/nowhere"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_demo_shows_this_machine_and_leaves_no_processes_behind(
    ports: dict[str, str], tmp_path: Path
) -> None:
    # The second run starts immediately, on the same ports.
    for number in (signal.SIGINT, signal.SIGTERM):
        with demo(ports, tmp_path / "output") as process:
            url = assert_shows_this_machine(process, tmp_path / "output")
            if number == signal.SIGINT:
                assert_has_a_story(url)
                others = {"DEMO_BROKER_PORT": str(free_port()), "DEMO_WEB_PORT": str(free_port())}
                assert "found the lock of a demo that is running here" in start_error(others)
                assert_commands_read_its_data()
            children = psutil.Process(process.pid).children(recursive=True)
            assert len(children) >= 4, "broker, worker, collector, simulated hosts"
            process.send_signal(number)
            assert process.wait(30) == 0
            _, alive = psutil.wait_procs(children, timeout=1)
            assert alive == []


def get(url: str) -> Any:
    with urllib.request.urlopen(url) as response:
        return json.load(response)


def assert_has_a_story(url: str) -> None:
    """There is something to find: a host that has fallen silent, dead letters, and a history."""
    # When a host sent readings is written once a minute.
    silent = eventually(lambda: get(f"{url}/api/v1/overview?state=silent"), lambda found: found["hosts"], 120)
    assert [each["host"] for each in silent["hosts"]] == ["lab-001"]
    found = eventually(lambda: get(f"{url}/api/v1/dead-letters"), lambda found: found["total"] >= 2, 120)
    assert found["by_reason"] == {"unknown_config": found["total"]}
    assert found["by_host"] == {"lab-002": found["total"]}
    columns = get(f"{url}/api/v1/plugins/Temperature/hosts/host-001/columns?points=60")["series"]
    assert len(columns["coretemp/Core 0"]["at"]) >= 30


def assert_commands_read_its_data() -> None:
    """As the README says."""
    hosts = run_command({**os.environ, "SPARKLE_SETTINGS": ".demo/settings.yaml"}, "hosts", "--silent")
    assert "lab-001" in hosts.stdout
    assert hosts.stderr == ""


def assert_shows_this_machine(process: subprocess.Popen[bytes], output: Path) -> str:
    """Returns the URL of the page, without a slash at its end."""
    text = eventually(
        output.read_text, lambda found: "\tPU_Workload\t" in found or process.poll() is not None, 90
    )
    assert process.poll() is None, text
    command = re.search(r"curl '(\S+)'", text)
    database = re.search(r"SQLite file: +(\S+)", text)
    assert command
    assert database
    # First of all, so that it is seen.
    page = re.search(r"^starting .*\ndashboard: +(http://127\.0\.0\.1:\d+/)\n", text)
    assert page
    with urllib.request.urlopen(urllib.request.Request(page[1], headers={"Accept": "text/html"})) as response:
        assert b"<script type=" in response.read()
    with urllib.request.urlopen(command[1]) as response:
        statistics = json.load(response)
    assert statistics["host"] == socket.gethostname()
    assert 0 <= statistics["metrics"]["CPU/total"]["average"] <= 100
    assert statistics["metrics"]["CPU/total"]["count"] >= 1
    for table in ("pu_workload_readings", "pu_workload_aggregates"):
        statement = f"SELECT count(*) AS n FROM {table} WHERE hostname = :host AND metric = 'CPU/total'"
        # Aggregates are answered before they are stored.
        eventually(lambda: count_rows(database[1], statement), bool, 60)  # noqa: B023 - called at once
    return page[1].rstrip("/")


def count_rows(file: str, statement: str) -> int:
    return int(query(f"sqlite:///{file}", statement, host=socket.gethostname())[0]["n"])


def test_the_demo_stops_when_nobody_reads_its_output(ports: dict[str, str]) -> None:
    """As in `make demo | head -1`."""
    with subprocess.Popen(
        [sys.executable, "-m", "demo", "--hosts", "0"],
        cwd=PROJECT,
        env={**os.environ, **ports},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        try:
            assert process.stdout.readline().startswith(b"starting ")
            process.stdout.close()
            assert process.wait(90) == 0
            assert process.stderr.read() == b""
        finally:
            process.kill()


def start_error(ports: dict[str, str]) -> str:
    """The error message, one line, of a demo that cannot start."""
    run = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=PROJECT,
        env={**os.environ, **ports},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert len(run.stderr.splitlines()) == 1
    return run.stderr


def test_a_busy_port_is_an_error_that_suggests_a_free_one() -> None:
    # Four consecutive free ports: the test occupies the first two, the demo's broker gets the third, and the error
    # message must suggest the fourth.
    first = next(port for port in iter(free_port, None) if all(map(is_free, range(port + 1, port + 4))))
    ports = {"DEMO_WEB_PORT": str(first), "DEMO_BROKER_PORT": str(first + 2)}
    with (
        socket.create_server(("127.0.0.1", first)),
        socket.create_server(("127.0.0.1", first + 1)),
    ):
        error = start_error(ports)
    assert f"port {first}: expected a free port for the web server" in error
    assert f"choose another: DEMO_WEB_PORT={first + 3} make demo" in error


def is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


@pytest.mark.parametrize("port", ["99999", "0"])
@pytest.mark.parametrize("variable", ["DEMO_WEB_PORT", "DEMO_BROKER_PORT"])
def test_an_invalid_port_is_one_clear_line(ports: dict[str, str], variable: str, port: str) -> None:
    error = start_error({**ports, variable: port})
    assert error == (f"{variable}: expected a port from 1 to 65535, found {port}; choose one, or unset it\n")
