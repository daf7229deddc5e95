"""Waiting for what has to become true."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], wanted: Callable[[T], bool], seconds: float = 60) -> T:
    """Look until it is as ``wanted``, and return what was seen.

    Raises:
        AssertionError: with what was seen last, after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if wanted(seen):
            return seen
        assert time.monotonic() < deadline, f"not within {seconds} s; last seen: {seen!r:.2000}"
        time.sleep(0.2)
