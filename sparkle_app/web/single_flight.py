"""One computation for all who ask for the same at the same time."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Concurrent calls with equal keys share one computation. Its result is not kept, and must not be modified."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[Result]] = {}

    async def run(self, key: Hashable, compute: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """The result of the computation that is running for ``key``; without one, ``compute`` starts it.

        Raises:
            Exception: what the computation raises.
        """
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(compute())
            task.add_done_callback(lambda done: self._ended(key, done))
        # One of those who wait may be cancelled: the others still wait for the result.
        return await asyncio.shield(task)

    def _ended(self, key: Hashable, task: "asyncio.Task[Result]") -> None:
        del self._running[key]
        if not task.cancelled():
            # Retrieved, since asyncio would log it if nobody waits any more.
            task.exception()
