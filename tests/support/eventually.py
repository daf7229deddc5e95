"""Polling until a condition is true."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(poll: Callable[[], T], condition: Callable[[T], bool], seconds: float = 60) -> T:
    """Call ``poll`` until ``condition`` is true for the result, and return this result.

    Raises:
        AssertionError: after ``seconds``, with the last result.
    """
    deadline = time.monotonic() + seconds
    while True:
        result = poll()
        if condition(result):
            return result
        assert time.monotonic() < deadline, f"not within {seconds} s; last result: {result!r:.2000}"
        time.sleep(0.2)
