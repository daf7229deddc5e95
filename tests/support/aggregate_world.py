"""Workers of one plugin, one after the other, and what they share."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sparkle_app.model.reading import StoredReading
from sparkle_app.storage.engine import read_transaction
from tests.support.aggregate_worker import (
    CHANGELOG,
    GROUP,
    NAME,
    PLUGIN,
    SAMPLES,
    AggregateWorker,
    create_topics,
    forwarder,
    plain_reading,
    sqlite_engine,
)
from tests.support.fake_clock import FakeClock
from tests.support.memory_broker import MemoryBroker
from tests.support.memory_faust import MemoryApp

MINUTE = 60_000_000
NOW = 1_699_999_980
"""The start of a bucket, seconds since the epoch."""
AT = NOW * 1_000_000
"""The same in microseconds."""
Do = Callable[[], Awaitable[None]]


class World:
    """Broker, database, clock, and the worker of now.

    Arguments:
        folder: of the database.
    """

    def __init__(self, folder: Path) -> None:
        self.broker = MemoryBroker()
        self.engine = sqlite_engine(folder)
        self.clock = FakeClock(NOW + 30)
        self.points: dict[str, Do] = {}
        """What happens, once, when a worker reaches a point."""
        self._stored = 0

    async def start(self) -> None:
        """Create the topics, start a worker."""
        await create_topics(self.broker)
        self.forwarder = forwarder(MemoryApp(self.broker, "ingest"))
        self.worker = await self.start_worker()

    async def start_worker(self) -> AggregateWorker:
        """Another worker, beside the one of now."""
        worker = AggregateWorker(self.broker, self.engine, self.clock, self._reached)
        await worker.start()
        return worker

    async def restart(self) -> None:
        """The worker's process ends, and another one takes its place."""
        await self.broker.evict(self.worker.app.connection)
        self.worker = await self.start_worker()

    def store(self, *values: float, hostname: str = "a", at: int = AT) -> list[StoredReading]:
        """Commit raw readings."""
        first, self._stored = self._stored, self._stored + len(values)
        readings = [
            plain_reading(number, hostname, "k", at, value) for number, value in enumerate(values, first)
        ]
        with self.engine.begin() as connection:
            PLUGIN.store_readings(connection, readings)
        return [reading.as_stored() for reading in readings]

    async def forward(self, *readings: StoredReading) -> None:
        """Send their samples."""
        await self.forwarder.forward({NAME: readings})

    async def count(self, *values: float, **where: Any) -> None:
        """Store, forward and handle readings."""
        await self.forward(*self.store(*values, **where))
        await self.worker.work()

    def in_sql(self) -> dict[tuple[str, int], tuple[int, float]]:
        """Count and sum of each bucket, by hostname and minutes since the beginning."""
        with read_transaction(self.engine) as connection:
            rows = list(PLUGIN.load_aggregates(connection, ("a", "b", "c"), None, 60, 0, 2 * AT))
        return {
            (row.hostname, (row.bucket_start - AT) // MINUTE): (row.statistics.count, row.statistics.sum)
            for row in rows
        }

    def in_table(self) -> dict[tuple[str, int], int]:
        """How many readings each bucket has counted."""
        return {
            (hostname, (start - AT) // MINUTE): len(bucket.ids)
            for (hostname, start), bucket in self.worker.buckets().items()
        }

    def acked(self) -> list[Any]:
        """Partition and offset of each acknowledgement of the worker of now."""
        return self.worker.stream.acked

    async def append_to_changelog(self, record: Any) -> None:
        """A record of the changelog once more, as a worker that was suspended writes it."""
        fields = {"key": record.key, "partition": record.partition}
        await self.broker.producer().send_and_wait(CHANGELOG, record.value, **fields)

    async def committed(self) -> int:
        """The sum of the committed offsets."""
        mine = self.worker.app.connection
        return sum([await mine.committed(at) or 0 for at in self.broker.partitions(SAMPLES)])

    async def _reached(self, worker: AggregateWorker, point: str) -> None:
        if do := self.points.pop(point, None):
            await do()

    async def rebalance(self) -> None:
        """The worker's partitions are assigned to it anew."""
        self.broker.rebalance(GROUP)
        await self.worker.app.rebalance()
