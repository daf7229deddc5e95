"""A snapshot that is made again and again while somebody asks for it: its cost does not grow with those who ask."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from sparkle_app.web.single_flight import SingleFlight

REFRESH_SECONDS = 2.0
"""Between two refreshes; more after one that took long, so that a tenth of the time is spent on them."""
MAX_REFRESH_SECONDS = 5.0
"""At most so much."""
MAX_AGE_SECONDS = 30.0
"""An older snapshot is not returned, even if the next one takes long."""
IDLE_SECONDS = 10.0
"""A snapshot for which nobody asks for so long, which is two polls of a page, is not made again until somebody does."""
Snapshot = TypeVar("Snapshot")


class Refreshed(Generic[Snapshot]):
    """The result of a function that is called in the background.

    Arguments:
        make: makes a snapshot. There is one call at a time.
    """

    def __init__(self, make: Callable[[], Coroutine[Any, Any, Snapshot]]) -> None:
        self._make = make
        self._making: SingleFlight[Snapshot] = SingleFlight(finish=True)
        self._task: asyncio.Task[None] | None = None
        self._last: Snapshot | None = None
        self._failure: Exception | None = None
        self._made_at = 0.0
        self._asked_at = 0.0
        self._stopped = False

    async def get(self) -> Snapshot:
        """The last snapshot; the next one if there is none yet.

        Raises:
            Exception: what the last call has raised.
        """
        if self._stopped:
            return await self.present()
        self._asked_at, max_age = time.monotonic(), MAX_AGE_SECONDS
        if self._task is None or self._task.done():
            self._task, max_age = asyncio.create_task(self._run()), MAX_REFRESH_SECONDS
            self._failure = None
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        if self._last is not None and self._asked_at - self._made_at < max_age:
            return self._last
        return await self.present()

    def stop(self) -> None:
        """Make no more snapshots in the background: who still has this object gets new ones."""
        self._stopped = True
        if self._task:
            self._task.cancel()

    async def present(self) -> Snapshot:
        """The next snapshot.

        Raises:
            Exception: what the call raises.
        """
        return await self._making.run("", self._call)

    async def _call(self) -> Snapshot:
        try:
            self._last, self._failure = await self._make(), None
        except Exception as error:
            self._failure = error
            raise
        self._made_at = time.monotonic()
        return self._last

    async def _run(self) -> None:
        while time.monotonic() - self._asked_at < IDLE_SECONDS:
            began = time.thread_time()
            # Who asks gets the exception.
            await asyncio.gather(self.present(), return_exceptions=True)
            # Includes what other tasks did meanwhile: with a busy event loop there are fewer refreshes.
            took = time.thread_time() - began
            await asyncio.sleep(min(max(REFRESH_SECONDS, 9 * took), MAX_REFRESH_SECONDS))
