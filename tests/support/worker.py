"""Workers and commands of the handler, as real processes with settings of their own."""

import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from tests.support.processes import Process, free_port

PROJECT = Path(__file__).parents[2]


class Workspace:
    """What a worker needs besides a broker and a database: a folder, a name and a plugin topic that no other test has.

    Arguments:
        folder: an empty one; it gets certs/, plugins/ (a copy of the project's), data/ and the logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.app_id = f"test-{uuid.uuid4().hex[:8]}"
        self.topic = f"{self.app_id}-telemetry"
        """The topic of all plugins in this workspace."""
        self.certs, self.plugins, self.data = folder / "certs", folder / "plugins", folder / "data"
        self.certs.mkdir()
        self.data.mkdir()
        shutil.copytree(PROJECT / "plugins", self.plugins, ignore=shutil.ignore_patterns("__pycache__"))
        for manifest in self.plugins.glob("*/manifest.py"):
            text, found = re.subn(r"(?m)^TOPIC\b.*$", f'TOPIC = "{self.topic}"', manifest.read_text())
            assert found == 1, f"{manifest}: expected one line that sets TOPIC, found {found}"
            manifest.write_text(text)

    def environment(self, broker_url: str, database_url: str, **settings: object) -> dict[str, str]:
        """The whole environment of a worker.

        Arguments:
            settings: any other setting, as in ``web__token="x"``.
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
            **settings,
        }
        return inherited | {f"SPARKLE_{key.upper()}": str(value) for key, value in own.items()}


class Worker:
    """``faust -A sparkle_app worker``.

    Arguments:
        environment: all of its environment; SPARKLE_WEB__PORT is set to a port of its own.
        log: file that takes what it prints.
        port: of its web pages; a free one if left out.
        command: program and arguments; the checkout's ``faust -A sparkle_app worker`` if left out.
        folder: where it runs; the checkout if left out.
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
        self.url = f"http://127.0.0.1:{self.port}"
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
        """Start it; :meth:`wait_ready` waits until it works."""
        self.process.start()

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait until it has its partitions and answers so.

        Raises:
            AssertionError: with the end of its log.
        """
        self.process.wait_until(self.ready, "200 from /health/ready", seconds)

    def get(self, path: str) -> tuple[int, Any]:
        """Status and decoded JSON (None if it is not JSON) of ``path``.

        Raises:
            requests.RequestException: when it does not answer.
        """
        response = requests.get(self.url + path, headers=self._headers, timeout=10)
        is_json = "json" in response.headers.get("Content-Type", "")
        return response.status_code, response.json() if is_json else None

    def terminate(self) -> int:
        """Ask it to end as an operator would, and return its exit code.

        Raises:
            AssertionError: with the end of its log, when it takes more than 30 s.
        """
        self.process.stop(30)
        code = self.process.exit_code
        assert code is not None
        assert code != -9, f"{self.process.name} did not end by itself; {self.process.tail()}"
        return code

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def ready(self) -> bool:
        """Whether it has its partitions and answers so."""
        try:
            return self.get("/health/ready")[0] == 200
        except requests.RequestException:
            return False


def run_command(
    environment: Mapping[str, str], *arguments: str, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """``faust -A sparkle_app ARGUMENTS``, waited for."""
    return subprocess.run(
        faust(*arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        env=dict(environment),
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
    )


def command_process(environment: Mapping[str, str], log: Path, *arguments: str) -> Process:
    """``faust -A sparkle_app ARGUMENTS``, to be started and sent signals."""
    return Process(arguments[0], faust(*arguments), log, environment=environment, folder=PROJECT)


def read_one_line(
    environment: Mapping[str, str], *arguments: str, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """``faust -A sparkle_app ARGUMENTS | head -1``: the reader leaves after the first line."""
    with subprocess.Popen(
        faust(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(environment),
        cwd=PROJECT,
    ) as process:
        assert process.stdout
        assert process.stderr
        line = process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        return subprocess.CompletedProcess(process.args, process.wait(seconds), line, errors)


def faust(*arguments: str) -> list[str]:
    """The command ``faust -A sparkle_app ARGUMENTS``."""
    return [sys.executable, "-m", "faust", "-A", "sparkle_app", *arguments]
