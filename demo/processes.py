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


class ChildExitedError(Exception):
    """A child process exited unexpectedly; ``str()`` includes the end of its log."""


class Child:
    """A running process and its log.

    Arguments:
        name: its name in messages.
        command: program and arguments.
        log: the file for its output.
        environment: variables in addition to those of this process. The user's own settings are left out.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SPARKLE_")}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**inherited, **(environment or {})},
                # Ctrl-C in the terminal must reach only the demo, which stops its children in order.
                start_new_session=True,
                # Safe here: the demo has no threads.
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    def check(self) -> None:
        """Check that the process is running.

        Raises:
            ChildExitedError: when it is not.
        """
        code = self._process.poll()
        if code is not None:
            lines = self.log.read_text("utf-8", "replace").splitlines()[-5:]
            raise ChildExitedError(
                f"{self.name} exited with code {code}; the end of {self.log}:\n" + "\n".join(lines)
            )

    def terminate(self) -> None:
        """Send SIGTERM if the process is still running."""
        self._signal(signal.SIGTERM)

    def wait(self, deadline: float) -> None:
        """Wait for the exit until ``deadline`` (monotonic seconds), then kill the process and its children."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def stop_all(children: Sequence[Child]) -> None:
    """Stop the children in reverse order of their start, within STOP_SECONDS."""
    deadline = time.monotonic() + STOP_SECONDS
    for child in reversed(children):
        child.terminate()
    for child in reversed(children):
        child.wait(deadline)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
