"""One computation for all who ask for the same at the same time."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


@dataclass(eq=False)
class _Flight(Generic[Result]):
    task: "asyncio.Task[Result]"
    waiting: int = 0


class SingleFlight(Generic[Result]):
    """Concurrent calls with equal keys share one computation. Its result is not kept, and must not be modified.

    Arguments:
        finish: whether a computation goes on when nobody waits for it any more, because it changes what later ones
            begin with; otherwise it is cancelled.
    """

    def __init__(self, *, finish: bool = False) -> None:
        self._finish = finish
        self._running: dict[Hashable, _Flight[Result]] = {}

    async def run(self, key: Hashable, compute: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """The result of the computation that is running for ``key``; without one, ``compute`` starts it.

        Raises:
            Exception: what the computation raises.
        """
        flight = self._running.get(key)
        if flight is None:
            flight = self._running[key] = _Flight(asyncio.create_task(compute()))
            flight.task.add_done_callback(lambda _done: self._ended(key, flight))
        flight.waiting += 1
        try:
            # Unlike await, it does not cancel the task when one of those who wait is cancelled.
            await asyncio.wait([flight.task])
        finally:
            flight.waiting -= 1
            if not (flight.waiting or self._finish or flight.task.done()):
                # Who asks from now on does not join it.
                del self._running[key]
                flight.task.cancel()
        return flight.task.result()

    def _ended(self, key: Hashable, flight: _Flight[Result]) -> None:
        if self._running.get(key) is flight:
            del self._running[key]
        if not flight.task.cancelled():
            # Retrieved, since asyncio would log it if nobody waits any more.
            flight.task.exception()
