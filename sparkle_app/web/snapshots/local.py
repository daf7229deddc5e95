"""A value for each host of this worker, computed from its window. Only hosts that changed are computed again."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice, takewhile
from typing import Generic, TypeVar
from uuid import uuid4

from sparkle_app.aggregate.windows import host_window
from sparkle_app.model.buckets import Statistics
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import unavailable
from sparkle_app.web.single_flight import SingleFlight

Value = TypeVar("Value")


class LocalView(Generic[Value]):
    """A value for each host that has readings in the window of one plugin.

    Arguments:
        compute: the value of a host, from its name and the statistics of its metrics; None: the host has none.
    """

    def __init__(
        self, parts: WebParts, plugin: str, compute: Callable[[str, dict[str, Statistics]], Value | None]
    ) -> None:
        self._parts = parts
        self._table = parts.tables[plugin]
        self._compute = compute
        self._running: SingleFlight[None] = SingleFlight(finish=True)
        self._generation = -1
        self._start = self._end = 0
        self._table_changes = 0
        # Hosts to be computed, and those to be computed when the window moves: by their first bucket in it, and those
        # that have a bucket after it.
        self._pending: set[str] = set()
        self._by_first: dict[int, set[str]] = {}
        self._later: set[str] = set()
        # The number of each host's last change, in the order of these numbers.
        self._changes: dict[str, int] = {}
        self.values: dict[str, Value] = {}
        self.partitions: frozenset[int] = frozenset()
        """Those of the hosts."""
        self.epoch = ""
        """Changes whenever the numbers of changes begin again."""
        self.changes = 0
        """Number of changes in this epoch."""

    async def update(self, start: int, end: int) -> None:
        """Bring the values up to date.

        Arguments:
            start, end: the window. It only moves forward: of the windows of two workers, the later one counts.

        Raises:
            Problem: 503, when partitions are reassigned meanwhile, or buckets of the window were pruned.
        """
        await self._running.run("", lambda: self._update(start, end))

    def changed_since(self, number: int, limit: int) -> Iterator[tuple[int, str]]:
        """The first hosts that have changed since :attr:`changes` was ``number``, each with the number of its change.

        Those that have no value any more are among them.
        """
        newest_first = takewhile(lambda item: item[1] > number, reversed(self._changes.items()))
        return ((change, hostname) for hostname, change in islice(reversed(list(newest_first)), limit))

    async def _update(self, start: int, end: int) -> None:
        table, group = self._table, self._parts.group
        if max(start, self._start) < table.pruned_before:
            raise unavailable(
                "buckets of this window were pruned: the clock of the worker that has them is ahead"
            )
        owned, generation = frozenset(table.owned()), group.generation
        ahead = self._end - end > 2 * (end - start)
        dropped = len(self._changes) > 2 * len(self.values) + 1000
        if (generation, owned) != (self._generation, self.partitions) or ahead or dropped:
            self._begin(generation, owned)
            self._start, self._end = start, end
            self._pending.update(table.hostnames())
        else:
            self._pending.update(table.changed_since(self._table_changes))
            self._move(start, end)
        self._table_changes = table.changes
        async with self._parts.slices.computation() as computation:
            while self._pending:
                self._compute_again(self._pending.pop())
                await computation.pause()
        if table.owned() != owned or group.generation != generation:
            self._generation = -1
            raise unavailable("partitions were reassigned during the query")

    def _begin(self, generation: int, owned: frozenset[int]) -> None:
        self._generation, self.partitions = generation, owned
        self.epoch, self.changes = uuid4().hex, 0
        self.values, self._changes = {}, {}
        self._pending, self._later = set(), set()
        self._by_first = defaultdict(set)

    def _move(self, start: int, end: int) -> None:
        if end <= self._end:
            return
        self._start, self._end = max(start, self._start), end
        for first in [first for first in self._by_first if first < self._start]:
            self._pending |= self._by_first.pop(first)
        self._pending |= self._later
        self._later = set()

    def _compute_again(self, hostname: str) -> None:
        starts = self._table.starts(hostname)
        inside = [at for at in starts if self._start <= at < self._end]
        value = None
        if inside:
            self._by_first[min(inside)].add(hostname)
            value = self._compute(hostname, host_window(self._table, hostname, self._start, self._end))
        if any(at >= self._end for at in starts):
            self._later.add(hostname)
        if value == self.values.get(hostname):
            return
        if value is None:
            del self.values[hostname]
        else:
            self.values[hostname] = value
        self.changes += 1
        self._changes.pop(hostname, None)
        self._changes[hostname] = self.changes
