"""Time that passes only when a test says so, or when somebody sleeps."""

import asyncio
from types import SimpleNamespace

import pytest

from sparkle_app.runtime import retry


class FakeClock:
    """Seconds.

    Arguments:
        now: when it begins.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        """The time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Pass the time at once; other tasks run."""
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def replace_sleep_of_retries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Retries wait by this clock."""
        monkeypatch.setattr(retry, "asyncio", SimpleNamespace(sleep=self.sleep))
