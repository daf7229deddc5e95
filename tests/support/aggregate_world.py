"""Consecutive workers of one plugin, and the broker, database and clock that they share."""

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
"""The start of a bucket, in seconds since the epoch."""
AT = NOW * 1_000_000
"""The same time in microseconds."""
Do = Callable[[], Awaitable[None]]


class World:
    """Broker, database, clock, and the current worker.

    Arguments:
        folder: the folder of the database file.
    """

    def __init__(self, folder: Path) -> None:
        self.broker = MemoryBroker()
        self.engine = sqlite_engine(folder)
        self.clock = FakeClock(NOW + 30)
        self.points: dict[str, Do] = {}
        """Functions that are called once, when a worker reaches the point of this name."""
        self._stored = 0

    async def start(self) -> None:
        """Create the topics, and start a worker."""
        await create_topics(self.broker)
        self.forwarder = forwarder(MemoryApp(self.broker, "ingest"))
        self.worker = await self.start_worker()

    async def start_worker(self) -> AggregateWorker:
        """Start another worker in addition to the current one."""
        worker = AggregateWorker(self.broker, self.engine, self.clock, self._reached)
        await worker.start()
        return worker

    async def restart(self) -> None:
        """Replace the current worker, as if its process had been killed."""
        await self.broker.evict(self.worker.app.connection)
        self.worker = await self.start_worker()

    def store(self, *values: float, hostname: str = "a", at: int = AT) -> list[StoredReading]:
        """Store readings in SQL."""
        first, self._stored = self._stored, self._stored + len(values)
        readings = [
            plain_reading(number, hostname, "k", at, value) for number, value in enumerate(values, first)
        ]
        with self.engine.begin() as connection:
            PLUGIN.store_readings(connection, readings)
        return [reading.as_stored() for reading in readings]

    async def forward(self, *readings: StoredReading) -> None:
        """Produce the samples of stored readings."""
        await self.forwarder.forward({NAME: readings})

    async def count(self, *values: float, **where: Any) -> None:
        """Store and forward readings, and process their samples."""
        await self.forward(*self.store(*values, **where))
        await self.worker.work()

    def in_sql(self) -> dict[tuple[str, int], tuple[int, float]]:
        """Count and sum of each aggregate in SQL, by hostname and by minutes since AT."""
        with read_transaction(self.engine) as connection:
            rows = list(PLUGIN.load_aggregates(connection, ("a", "b", "c"), None, 60, 0, 2 * AT))
        return {
            (row.hostname, (row.bucket_start - AT) // MINUTE): (row.statistics.count, row.statistics.sum)
            for row in rows
        }

    def in_table(self) -> dict[tuple[str, int], int]:
        """Number of readings that each bucket in the table has counted, by hostname and by minutes since AT."""
        return {
            (hostname, (start - AT) // MINUTE): len(bucket.ids)
            for (hostname, start), bucket in self.worker.buckets().items()
        }

    def acked(self) -> list[Any]:
        """Partition and offset of each acknowledgement by the current worker."""
        return self.worker.stream.acked

    async def append_to_changelog(self, record: Any) -> None:
        """Append a copy of a changelog record, as a late write of a suspended worker does."""
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
        """Rebalance the group; the current worker is the only member."""
        self.broker.rebalance(GROUP)
        await self.worker.app.rebalance()
