"""The lines of the hosts of all workers."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import msgspec

from sparkle_app.aggregate.windows import window_bounds
from sparkle_app.kafka.topology import partition_of
from sparkle_app.web.partition_router import PartitionRouter
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, current_time, unavailable
from sparkle_app.web.snapshots.lines import (
    LINES_PATH,
    MAX_LINES,
    PAGE_LINES,
    Line,
    LinesPage,
    LinesQuery,
    View,
    page_of,
)
from sparkle_app.web.snapshots.local import LocalView
from sparkle_app.web.snapshots.refreshed import Refreshed

_page = msgspec.json.Decoder(LinesPage)


class OutdatedPartitions(msgspec.Struct, frozen=True):
    """Partitions of which a snapshot lacks the present state."""

    worker: str | None
    """URL of the worker that owned them last; null: none that this worker knows of."""
    partitions: list[int]
    answered_at: int | None
    """Of when the lines of their hosts are, microseconds since the epoch; None: there are none."""
    problem: str


@dataclass(frozen=True, kw_only=True)
class FleetSnapshot:
    """The lines of all hosts at one moment. It must not be modified."""

    number: int
    """Differs between snapshots with different contents."""
    made_at: int
    """When the worker began to make it, microseconds since the epoch."""
    start: int
    end: int
    lines: Mapping[str, Line]
    """By hostname, in any order."""
    outdated: Sequence[OutdatedPartitions]
    """Empty if the snapshot is complete."""
    doubtful: str
    """Why the lines are not exactly those of every host; empty if they are."""


@dataclass(eq=False)
class _WorkerLines:
    """What another worker, or this one, has answered."""

    url: str
    epoch: str = ""
    changes: int = 0
    partitions: frozenset[int] = frozenset()
    lines: dict[int, dict[str, Line]] = field(default_factory=dict)
    """By partition and hostname."""
    answered_at: int = 0
    problem: str = ""


class FleetView:
    """One view of the hosts of all workers.

    Arguments:
        local: the lines of this worker's hosts.
        first: limits how many views make their first snapshots at one time.
    """

    def __init__(
        self,
        parts: WebParts,
        router: PartitionRouter,
        view: View,
        local: LocalView[Line],
        first: asyncio.Semaphore,
    ) -> None:
        self._parts = parts
        self._router = router
        self._view = view
        self._local = local
        self._first = first
        self._numbers = count(1)
        self._workers: dict[str, _WorkerLines] = {}
        self._snapshot: FleetSnapshot | None = None
        self._refreshed = Refreshed(self._make)

    async def get(self) -> FleetSnapshot:
        """A snapshot that is some seconds old at most, if the workers answer.

        Raises:
            Problem: 503, while the time is not known.
        """
        return await self._refreshed.get()

    def stop(self) -> None:
        """Make no more snapshots unless somebody asks."""
        self._refreshed.stop()

    async def present(self) -> FleetSnapshot:
        """A new snapshot.

        Raises:
            Problem: as :meth:`get`.
        """
        return await self._refreshed.present()

    async def _make(self) -> FleetSnapshot:
        if self._snapshot is None:
            async with self._first:
                return await self._refresh()
        return await self._refresh()

    async def _refresh(self) -> FleetSnapshot:
        now = current_time(self._parts.clock)
        start, end = window_bounds(now, self._view.window, self._parts.settings.aggregates.bucket_seconds)
        owners = self._router.owners(self._view.plugin)
        urls = sorted(set(owners.values()))
        changed = any(await asyncio.gather(*(self._ask(url, now, start, end) for url in urls)))
        number = self._parts.settings.broker.partitions
        sources = {partition: self._source(partition, urls) for partition in range(number)}
        used = {id(worker) for worker in sources.values() if worker}
        self._workers = {
            url: worker for url, worker in self._workers.items() if url in urls or id(worker) in used
        }
        outdated = self._outdated(sources, owners)
        doubtful = self._doubtful(urls)
        last = self._snapshot
        same = last and (last.start, last.end, last.outdated, last.doubtful) == (
            start,
            end,
            outdated,
            doubtful,
        )
        if not changed and same:
            assert last
            self._snapshot = replace(last, made_at=now)
            return self._snapshot
        lines: dict[str, Line] = {}
        for partition, worker in sources.items():
            if worker:
                lines.update(worker.lines.get(partition, {}))
        self._snapshot = FleetSnapshot(
            number=next(self._numbers),
            made_at=now,
            start=start,
            end=end,
            lines=lines,
            outdated=outdated,
            doubtful=doubtful,
        )
        return self._snapshot

    def _source(self, partition: int, urls: Sequence[str]) -> _WorkerLines | None:
        """The worker with the newest lines of a partition."""
        workers = [worker for worker in self._workers.values() if partition in worker.partitions]
        return max(workers, key=lambda worker: (worker.answered_at, worker.url in urls), default=None)

    def _outdated(
        self, sources: Mapping[int, _WorkerLines | None], owners: Mapping[int, str]
    ) -> list[OutdatedPartitions]:
        found: dict[tuple[str | None, int | None, str], list[int]] = {}
        for partition, worker in sources.items():
            owner = owners.get(partition)
            if worker and worker.url == owner and not worker.problem:
                continue
            problem = "not assigned to a worker at this moment"
            if owner:
                problem = self._workers[owner].problem or "another worker is taking over"
            key = owner, worker.answered_at if worker else None, problem
            found.setdefault(key, []).append(partition)
        return [
            OutdatedPartitions(url, numbers, at, problem) for (url, at, problem), numbers in found.items()
        ]

    def _doubtful(self, urls: Sequence[str]) -> str:
        workers = [self._workers[url] for url in urls]
        if problem := next((worker.problem for worker in workers if worker.problem), ""):
            return problem
        covered = sorted(partition for worker in workers for partition in worker.partitions)
        if covered == list(range(self._parts.settings.broker.partitions)):
            return ""
        hint = self._router.address_hint([worker.partitions for worker in workers])
        return f"not every partition is owned by exactly one worker at this moment{hint}"

    async def _ask(self, url: str, now: int, start: int, end: int) -> bool:
        """Bring the lines of a worker up to date; returns whether it has changed."""
        worker = new = self._workers.setdefault(url, _WorkerLines(url))
        changed = False
        try:
            first = more = True
            pages = 0
            while more:
                query = LinesQuery(self._view, start, end, new.epoch, new.changes, first)
                page = await self._page(url, query)
                if page.epoch != new.epoch:
                    # The earlier lines are void, but are shown until all new ones are here.
                    new = _WorkerLines(url, page.epoch)
                changed |= new is not worker or bool(page.lines or page.removed)
                await self._apply(new, page)
                first, more, pages = False, page.more, pages + 1
                if pages * PAGE_LINES > MAX_LINES or sum(map(len, new.lines.values())) > MAX_LINES:
                    raise unavailable(f"the worker at {url}: expected at most {MAX_LINES} hosts, found more")
        except Problem as problem:
            worker.problem = problem.detail
            return changed and new is worker
        new.answered_at, new.problem = now, ""
        self._workers[url] = new
        return changed

    async def _page(self, url: str, query: LinesQuery) -> LinesPage:
        if not self._router.is_local(url):
            return await self._router.post(url, LINES_PATH, query, _page)
        if query.first:
            await self._local.update(query.start, query.end)
        return page_of(self._local, query)

    async def _apply(self, worker: _WorkerLines, page: LinesPage) -> None:
        number = self._parts.settings.broker.partitions
        worker.changes, worker.partitions = page.changes, frozenset(page.partitions)
        async with self._parts.slices.computation() as computation:
            for line in page.lines:
                worker.lines.setdefault(partition_of(line.host, number), {})[line.host] = line
                await computation.pause()
            for host in page.removed:
                worker.lines.get(partition_of(host, number), {}).pop(host, None)
                await computation.pause()
