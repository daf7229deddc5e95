"""Ends a child process together with its parent, on Linux."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
# Loaded before the fork: after it, a child of a process with threads should do as little as possible.
_LIBC = ctypes.CDLL(None)


def die_with_parent() -> None:
    """Have the kernel send SIGKILL to this process when the thread that started it ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
