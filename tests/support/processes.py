"""Child processes that end with the tests."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import psutil

from tests.support.parent_death import die_with_parent
from tests.support.preloaded import ForkedProcess, PreloadedServer

PRELOADED: list[PreloadedServer] = []
"""The server that forks processes, if the tests use one: pytest does; benchmarks and the chaos suite do not."""


class Process:
    """A program that can be started, stopped and killed repeatedly. Its output is appended to a log.

    Start it from pytest's main thread: on Linux it is killed when the thread that started it ends.

    Arguments:
        name: name for messages.
        command: program and arguments.
        log: file to which the output is appended.
        environment: the complete environment; by default that of this process.
        folder: the working directory.
        user: the user that runs it; by default that of this process.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environment = environment
        self._folder = folder
        self._user = user
        self._process: subprocess.Popen[bytes] | ForkedProcess | None = None

    def start(self) -> None:
        """Start the process, which must not be running."""
        assert not self.running, f"{self.name} is already running"
        with self.log.open("ab") as output:
            environment = os.environ if self._environment is None else self._environment
            if not self._user and _preloaded(self._command, environment):
                folder = self._folder or Path.cwd()
                self._process = PRELOADED[0].start(self._command, environment, folder, output, output)
                return
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._folder,
                # A new process group: Ctrl-C stops the tests only, and kill() reaches its child processes.
                start_new_session=True,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
                user=self._user,
                group=_group(self._user) if self._user else None,
                extra_groups=[] if self._user else None,
            )

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process, f"{self.name} was never started"
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while the process runs; negative: the signal that ended it."""
        return self._process.poll() if self._process else None

    def send(self, number: int) -> None:
        """Send a signal, such as SIGSTOP, to the process and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def send_only(self, number: int) -> None:
        """Send a signal to the process itself, if it is running."""
        if self.running:
            os.kill(self.pid, number)

    def wait(self, seconds: float) -> int:
        """Wait until the process ends, and return its exit code.

        Raises:
            AssertionError: after ``seconds``, with the end of the log.
        """
        assert self._process, f"{self.name} was never started"
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} is still running after {seconds:g} s; {self.tail()}") from None

    def stop(self, seconds: float = 30, number: int = signal.SIGTERM) -> None:
        """Send a signal to end the process, and kill it after ``seconds``."""
        if self.running:
            self.send_only(number)
            with contextlib.suppress(AssertionError):
                self.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """Kill the process and its children with SIGKILL."""
        if self._process:
            self.send(signal.SIGKILL)
            self._process.wait()

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        """Poll ``condition`` until it is true.

        Raises:
            AssertionError: if the process ends, or after ``seconds``; with the end of the log.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.running, f"{self.name} ended with exit code {self.exit_code}; {self.tail()}"
            assert time.monotonic() < deadline, f"{self.name}: no {what} after {seconds:g} s; {self.tail()}"
            time.sleep(0.1)

    def tail(self, lines: int = 30) -> str:
        """The end of the log, for messages."""
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return f"the end of {self.log}:\n" + "\n".join(text.splitlines()[-lines:])


def run_program(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    seconds: float = 60,
    output: BinaryIO | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program without input, and wait until it ends.

    Arguments:
        output: file for standard output, instead of the result.

    Raises:
        subprocess.TimeoutExpired: after ``seconds``.
    """
    with tempfile.TemporaryFile() as own, tempfile.TemporaryFile() as errors:
        process = start_program(command, environment, folder, output or own, errors)
        try:
            code = process.wait(seconds)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        texts = []
        for file in (own, errors):
            file.seek(0)
            texts.append(file.read().decode().replace("\r\n", "\n"))
        return subprocess.CompletedProcess(command, code, *texts)


def start_program(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, output: BinaryIO, errors: BinaryIO
) -> "subprocess.Popen[bytes] | ForkedProcess":
    """Start a program without input, in a session of its own."""
    if _preloaded(command, environment):
        return PRELOADED[0].start(command, environment, folder, output, errors)
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment, cwd=folder,
        start_new_session=True,
    )  # fmt: skip


def _preloaded(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    return any(server.supports(command, environment) for server in PRELOADED)


_given_out: set[int] = set()
"""A server that is not started yet does not listen."""


def free_port() -> int:
    """A port of 127.0.0.1 on which no process listens, another one at each call.

    It is below the range of ephemeral ports. Otherwise a client that retries while its server is down could be assigned
    the server's port for its own end, and connect to itself.
    """
    while True:
        # Not the shared generator, which Hypothesis seeds with the same number in each process.
        port = random.SystemRandom().randrange(10_000, 32_000)
        if port in _given_out:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                _given_out.add(port)
                return port


_MEMORY = Path("/dev/shm")
_MIN_FREE = 4_000_000_000


def data_folder(prefix: str) -> Path:
    """A new folder for the data of a server that need not outlive the machine: in memory if there is enough of it.

    PostgreSQL copies 300 files for each database, and others wait for the disk whenever a table is created.
    """
    enough = (
        os.access(_MEMORY, os.W_OK)
        and min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available) > _MIN_FREE
    )
    return Path(tempfile.mkdtemp(prefix=prefix, dir=_MEMORY if enough else None))


def _group(user: str) -> str:
    import grp
    import pwd

    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
