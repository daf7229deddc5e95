"""Child processes that never outlive the tests."""

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


class Process:
    """A program that can be started, stopped, killed and started again; what it prints is appended to a log.

    Start it from pytest's main thread: on Linux it is killed when the thread that started it ends.

    Arguments:
        name: what it is, for messages.
        command: program and arguments.
        log: file that takes what it prints.
        environment: all of its environment; this process's own if left out.
        folder: where it runs.
        user: whom it runs as; this process's own user if left out.
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
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it must not be running."""
        assert not self.running, f"{self.name} runs already"
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._folder,
                # A group of its own: a Ctrl-C stops the tests alone, and a kill reaches all that it started.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
                user=self._user,
                group=_group(self._user) if self._user else None,
                extra_groups=[] if self._user else None,
            )

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process, f"{self.name} was never started"
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll() if self._process else None

    def send(self, number: int) -> None:
        """Send a signal (SIGSTOP and SIGCONT among them) to it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def send_only(self, number: int) -> None:
        """Send a signal to the process itself, if it is there."""
        if self.running:
            os.kill(self.pid, number)

    def wait(self, seconds: float) -> int:
        """Wait until it ends and return its exit code.

        Raises:
            AssertionError: with the end of its log, after ``seconds``.
        """
        assert self._process, f"{self.name} was never started"
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {seconds:g} s; {self.tail()}") from None

    def stop(self, seconds: float = 30, number: int = signal.SIGTERM) -> None:
        """Ask it to end, and kill it after ``seconds``."""
        if self.running:
            self.send_only(number)
            with contextlib.suppress(AssertionError):
                self.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to it and all that it started."""
        if self._process:
            self.send(signal.SIGKILL)
            self._process.wait()

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        """Poll ``condition`` until it is true.

        Raises:
            AssertionError: with the end of the log, when the process ends before, or after ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.running, f"{self.name} ended with exit code {self.exit_code}; {self.tail()}"
            assert time.monotonic() < deadline, f"{self.name}: no {what} after {seconds:g} s; {self.tail()}"
            time.sleep(0.1)

    def tail(self, lines: int = 30) -> str:
        """The end of its log, for messages."""
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return f"the end of {self.log}:\n" + "\n".join(text.splitlines()[-lines:])


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on.

    It lies below the range that systems take for outgoing connections: from there a client that retries while its
    server is down would sooner or later be given the server's own port, and be connected with itself.
    """
    while True:
        port = random.randrange(24_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


def _group(user: str) -> str:
    import grp
    import pwd

    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name


# Found before the fork: a child of a process with threads should call as little as it can.
_LIBC = ctypes.CDLL(None)


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
