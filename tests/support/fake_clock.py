"""A clock that advances only when a test sets it, or when code under test sleeps."""

import asyncio
from types import SimpleNamespace

import pytest

from sparkle_app.runtime import retry


class FakeClock:
    """Time in seconds.

    Arguments:
        now: the initial time.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        """The current time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Advance the clock without waiting; other tasks run meanwhile."""
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def replace_sleep_of_retries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make retries wait by this clock."""
        monkeypatch.setattr(retry, "asyncio", SimpleNamespace(sleep=self.sleep))
