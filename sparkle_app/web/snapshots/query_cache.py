"""Pages of a snapshot, sorted and filtered: computed once for each snapshot and query."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from itertools import islice

from sparkle_app.web.conditional import Tagged
from sparkle_app.web.single_flight import SingleFlight
from sparkle_app.web.slices import Slices

MAX_BYTES = 32 * 2**20
"""Of the responses that are kept for one snapshot."""
_BYTES = 4096
"""What a response takes besides its JSON, at most."""
IDLE_SECONDS = 30.0
"""If nobody asks for so long, nothing is kept."""
_SORTED_AT_ONCE = 1000


class QueryCache:
    """The orders and responses that have been computed from the present snapshot.

    They are kept until another snapshot is asked for, or nobody asks; orders also for a snapshot that was made again
    with the same contents.
    """

    def __init__(self, slices: Slices) -> None:
        self._slices = slices
        self._number: Hashable = None
        self._made_at: int | None = None
        self._orders: dict[Hashable, list[str]] = {}
        self._responses: dict[Hashable, Tagged] = {}
        self._bytes = 0
        self._idle: asyncio.TimerHandle | None = None
        self._running: SingleFlight[Tagged] = SingleFlight()

    async def get(
        self, number: Hashable, made_at: int, query: Hashable, compute: Callable[[], Awaitable[Tagged]]
    ) -> Tagged:
        """The response to a query.

        Arguments:
            number: identifies the contents of the snapshot.
            made_at: when it was made, which the response says.
            compute: called if it is not known.
        """

        async def run() -> Tagged:
            response = await compute()
            size = len(await response.encoded(self._slices)) + _BYTES
            present = (number, made_at) == (self._number, self._made_at)
            if present and self._bytes + size <= MAX_BYTES:
                self._responses[query] = response
                self._bytes += size
            return response

        if number != self._number:
            self._forget(number)
        if made_at != self._made_at:
            self._made_at, self._responses, self._bytes = made_at, {}, 0
        if self._idle:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._forget, None)
        found = self._responses.get(query)
        return found or await self._running.run((number, made_at, query), run)

    def _forget(self, number: Hashable) -> None:
        self._number, self._orders, self._responses, self._bytes = number, {}, {}, 0

    async def sorted(
        self, number: Hashable, by: str, hosts: Iterable[str], value: Callable[[str], float | None] | None
    ) -> list[str]:
        """The hosts of a snapshot in the order of a value; equal ones, and those without, in that of their names.

        Arguments:
            by: identifies the order; it is reversed if this begins with ``-``. Hosts without a value are the last.
            value: None: the hosts are sorted by name.
        """
        if number == self._number and by in self._orders:
            return self._orders[by]
        sign = -1 if by.startswith("-") else 1
        rest = iter(hosts)
        keys: list[tuple[bool, float, str]] = []
        async with self._slices.computation() as computation:
            while some := list(islice(rest, _SORTED_AT_ONCE)):
                if value is None:
                    part = [(False, 0.0, host) for host in some]
                else:
                    found = [(host, value(host)) for host in some]
                    part = [(each is None, sign * (each or 0.0), host) for host, each in found]
                keys += sorted(part)
                await computation.pause()
            # What is left is to merge sorted runs, which takes some milliseconds.
            keys.sort()
            await computation.pause()
            order = [host for _, _, host in keys]
            if value is None and sign < 0:
                order.reverse()
        if number == self._number:
            self._orders[by] = order
        return order

    async def filtered(self, hosts: list[str], accepts: Callable[[str], bool]) -> list[str]:
        """The hosts that a filter accepts."""
        found = []
        async with self._slices.computation() as computation:
            for host in hosts:
                if accepts(host):
                    found.append(host)
                await computation.pause()
        return found
