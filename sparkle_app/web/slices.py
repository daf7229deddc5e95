"""Long computations on the event loop, in slices between which other tasks run."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from heapq import merge
from itertools import islice
from types import TracebackType
from typing import Self

SLICE_SECONDS = 0.005
_SORTED_AT_ONCE = 5000


class Computation:
    """One long computation. Inside ``async with`` it has the event loop until it pauses."""

    def __init__(self, turn: asyncio.Lock) -> None:
        self._turn = turn
        self._has_turn = False
        self._until = 0.0

    async def __aenter__(self) -> Self:
        # Otherwise the slices of a task with several short computations would add up.
        await asyncio.sleep(0)
        await self._begin_slice()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_slice()

    async def pause(self) -> None:
        """Let other tasks run if the slice is over. To be awaited every millisecond or more often."""
        if time.perf_counter() >= self._until:
            # Only then: if no computation had the turn meanwhile, all would have it in the next iteration of the loop.
            await asyncio.sleep(0)
            self._end_slice()
            await self._begin_slice()

    async def sorted(self, names: Iterable[str]) -> AsyncIterator[str]:
        """The names in their order."""
        rest = iter(names)
        parts: list[list[str]] = []
        while part := sorted(islice(rest, _SORTED_AT_ONCE)):
            parts.append(part)
            await self.pause()
        for name in merge(*parts):
            yield name

    async def _begin_slice(self) -> None:
        await self._turn.acquire()
        self._has_turn = True
        self._until = time.perf_counter() + SLICE_SECONDS

    def _end_slice(self) -> None:
        # A computation that is cancelled while it waits has no turn to give up.
        if self._has_turn:
            self._has_turn = False
            self._turn.release()


class Slices:
    """The computations of one event loop. They take turns, so that their slices do not add up to a long one."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    def computation(self) -> Computation:
        """A new one."""
        return Computation(self._turn)
