"""Child processes that never outlive the demo."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_SECONDS = 15
_PR_SET_PDEATHSIG = 1


class ChildEnded(Exception):
    """A child ended by itself; the text names it and shows the end of its log."""


class Child:
    """A started process and its log.

    Arguments:
        name: what it is, for messages.
        command: program and arguments.
        log: file that takes what it prints.
        environment: added to this process's own.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                # A Ctrl-C at the terminal goes to the demo alone, which ends its children in order.
                start_new_session=True,
                # Safe here: the demo has no threads.
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    def check(self) -> None:
        """Notice that the process is gone.

        Raises:
            ChildEnded: when it is.
        """
        code = self._process.poll()
        if code is not None:
            lines = self.log.read_text("utf-8", "replace").splitlines()[-5:]
            raise ChildEnded(
                f"{self.name} ended with exit code {code}; the end of {self.log}:\n" + "\n".join(lines)
            )

    def ask_to_stop(self) -> None:
        """Send SIGTERM, if it still runs."""
        self._signal(signal.SIGTERM)

    def wait(self, deadline: float) -> None:
        """Wait for its end until ``deadline`` (monotonic seconds), then kill it and all that it started."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def stop_all(children: Sequence[Child]) -> None:
    """End the children, the last started first, in bounded time."""
    deadline = time.monotonic() + STOP_SECONDS
    for child in reversed(children):
        child.ask_to_stop()
    for child in reversed(children):
        child.wait(deadline)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
