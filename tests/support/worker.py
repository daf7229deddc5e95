"""Runs workers and commands of the handler as processes, each with its own settings."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from tests.support.faults import faults_of, unexpected
from tests.support.processes import Process, free_port, run_program, start_program

PROJECT = Path(__file__).parents[2]


class Workspace:
    """What a worker needs besides a broker and a database: a folder, an app id and a plugin topic, unique to a test.

    Arguments:
        folder: an empty folder for certs/, plugins/ (a copy of the project's plugins), data/ and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.app_id = f"test-{uuid.uuid4().hex[:8]}"
        self.topic = f"{self.app_id}-telemetry"
        """The plugin topic of all plugins in this workspace."""
        self.certs, self.plugins, self.data = folder / "certs", folder / "plugins", folder / "data"
        self.certs.mkdir()
        self.data.mkdir()
        shutil.copytree(PROJECT / "plugins", self.plugins, ignore=shutil.ignore_patterns("__pycache__"))
        for manifest in self.plugins.glob("*/manifest.py"):
            text, found = re.subn(r"(?m)^TOPIC\b.*$", f'TOPIC = "{self.topic}"', manifest.read_text())
            assert found == 1, f"{manifest}: expected one line that sets TOPIC, found {found}"
            manifest.write_text(text)

    def environment(self, broker_url: str, database_url: str, **settings: object) -> dict[str, str]:
        """The complete environment of a worker.

        Arguments:
            settings: other settings, such as ``web__token="x"``.
        """
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("SPARKLE_")}
        own: dict[str, object] = {
            "app_id": self.app_id,
            "broker__url": broker_url,
            "broker__partitions": 4,
            "database__url": database_url,
            "certs": self.certs,
            "plugins": self.plugins,
            "data": self.data,
            # Of commands; on the usual one, somebody may run a demo.
            "web__port": free_port(),
            # Most tests compare what one of these workers stores.
            "retention__interval_seconds": 86_400,
            **settings,
        }
        return inherited | {f"SPARKLE_{key.upper()}": str(value) for key, value in own.items()}


class Worker:
    """``faust -A sparkle_app worker``.

    Arguments:
        environment: the complete environment, except SPARKLE_WEB__PORT.
        log: file to which the output is appended.
        port: the HTTP port; by default a free port.
        command: program and arguments; by default ``faust -A sparkle_app worker`` of the checkout.
        folder: the working directory; by default the checkout.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        log: Path,
        port: int | None = None,
        *,
        command: Sequence[str] | None = None,
        folder: Path = PROJECT,
    ) -> None:
        self.port = port or free_port()
        self.expected: list[str] = []
        """Patterns of faults that the test provokes."""
        scheme = "https" if "SPARKLE_WEB__TLS__CERTIFICATE" in environment else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._verify: str | bool = environment.get("SPARKLE_WEB__TLS__AUTHORITIES", True)
        self._headers: dict[str, str] = {}
        if token := environment.get("SPARKLE_WEB__TOKEN"):
            self._headers["Authorization"] = f"Bearer {token}"
        self.process = Process(
            f"the worker on port {self.port}",
            command or faust("worker"),
            log,
            environment={**environment, "SPARKLE_WEB__PORT": str(self.port)},
            folder=folder,
        )

    def start(self) -> None:
        """Start the worker, without waiting until it is ready."""
        self.process.start()

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait until the worker is ready.

        Raises:
            AssertionError: after ``seconds``, with the end of the log.
        """
        self.process.wait_until(self.ready, "200 from /health/ready", seconds)

    def get(self, path: str) -> tuple[int, Any]:
        """Send a GET request; returns the status and the decoded JSON (None if the body is not JSON).

        Raises:
            requests.RequestException: if the worker does not answer.
        """
        response = requests.get(self.url + path, headers=self._headers, timeout=10, verify=self._verify)
        is_json = "json" in response.headers.get("Content-Type", "")
        return response.status_code, response.json() if is_json else None

    def terminate(self) -> int:
        """Stop the worker with SIGTERM, and return its exit code.

        Raises:
            AssertionError: if it does not exit within 30 s, with the end of the log.
        """
        self.process.stop(30)
        code = self.process.exit_code
        assert code is not None
        assert code != -9, f"{self.process.name} did not exit within 30 s; {self.process.tail()}"
        return code

    def wait_failure(self, seconds: float = 60) -> str:
        """Wait until the worker exits with an error, as the test expects, and return its log.

        Raises:
            AssertionError: after ``seconds``, or if it exits with another code than 1.
        """
        code = self.process.wait(seconds)
        assert code == 1, f"exit code {code}; {self.process.tail()}"
        self.expected.append("^exit code 1$")
        return self.process.log.read_text("utf-8")

    def kill(self) -> None:
        """Kill the worker with SIGKILL."""
        self.process.kill()

    def close(self) -> None:
        """Kill the worker at the end of a test.

        Raises:
            AssertionError: if it had exited with an error, or has logged one that shows a defect, which was not
                expected.
        """
        code = self.process.exit_code
        self.kill()
        exits = [] if code in (None, 0, -signal.SIGKILL) else [f"exit code {code}"]
        faults = faults_of(self.process.log, self.expected) + unexpected(exits, self.expected)
        assert not faults, "\n".join([f"{self.process.name}, {self.process.log}:", *faults])

    def ready(self) -> bool:
        """Whether the worker is ready."""
        try:
            return self.get("/health/ready")[0] == 200
        except requests.RequestException:
            return False


def run_command(
    environment: Mapping[str, str], *arguments: str, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run ``faust -A sparkle_app ARGUMENTS``, and wait until it ends."""
    return run_program(faust(*arguments), environment, PROJECT, seconds)


def command_process(environment: Mapping[str, str], log: Path, *arguments: str) -> Process:
    """A process of ``faust -A sparkle_app ARGUMENTS``, not started."""
    return Process(arguments[0], faust(*arguments), log, environment=environment, folder=PROJECT)


def read_one_line(
    environment: Mapping[str, str], *arguments: str, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run ``faust -A sparkle_app ARGUMENTS | head -1``: the pipe is closed after the first line."""
    read, write = os.pipe()
    with open(read) as output, tempfile.TemporaryFile() as errors:
        with open(write, "wb") as end:
            process = start_program(faust(*arguments), environment, PROJECT, end, errors)
        line = output.readline()
        output.close()
        code = process.wait(seconds)
        errors.seek(0)
        return subprocess.CompletedProcess(faust(*arguments), code, line, errors.read().decode())


def faust(*arguments: str) -> list[str]:
    """The command ``faust -A sparkle_app ARGUMENTS``."""
    return [sys.executable, "-m", "faust", "-A", "sparkle_app", *arguments]
