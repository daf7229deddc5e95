"""Limits the calls that are executed in threads at one time, and those that wait for it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from sparkle_app.web.problems import unavailable

T = TypeVar("T")


class ThreadLimit:
    """Calls of one kind.

    Arguments:
        what: the calls, in the plural; a refusal names them.
        at_once: how many threads they take, at most.
        limit: how many are in progress or waiting, at most.
    """

    def __init__(self, what: str, at_once: int, limit: int) -> None:
        self._what = what
        self._limit = limit
        self._turns = asyncio.Semaphore(at_once)
        self.calls = 0
        """In progress or waiting."""

    async def run(self, executor: Executor, call: Callable[[], T]) -> T:
        """The result of ``call``.

        If this is cancelled, a call that waits is never executed. One in progress continues, and counts until it ends.

        Raises:
            Problem: 503, when there are too many.
            Exception: what the call raises.
        """
        if self.calls >= self._limit:
            raise unavailable(
                f"expected at most {self._limit} {self._what} at one time; repeat the request later"
            )
        self.calls += 1
        try:
            await self._turns.acquire()
        except asyncio.CancelledError:
            self.calls -= 1
            raise
        running = asyncio.get_running_loop().run_in_executor(executor, call)
        running.add_done_callback(self._ended)
        # Unlike await, it does not cancel the future, which would then end before its thread.
        await asyncio.wait([running])
        return running.result()

    def _ended(self, done: "asyncio.Future[Any]") -> None:
        self.calls -= 1
        self._turns.release()
        if not done.cancelled():
            # Retrieved, since asyncio would log it if nobody waits any more.
            done.exception()
