"""The aggregate agent of a worker, with an in-memory broker, real SQL, and points at which a test can intervene."""

from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url

from sparkle_app.aggregate.agent import AggregatePipeline
from sparkle_app.aggregate.aggregator import Aggregator, Dropped
from sparkle_app.aggregate.stored_buckets import Changed
from sparkle_app.aggregate.table import BucketTable
from sparkle_app.ingest.forwarder import Forwarder
from sparkle_app.kafka.membership import Membership, TableRecovery
from sparkle_app.kafka.topology import changelog_topic, samples_topic, table_name
from sparkle_app.model.buckets import Bucket
from sparkle_app.model.reading import Reading
from sparkle_app.model.sample import Samples
from sparkle_app.plugin_api import AggregatesTable, Base, Plugin, ReadingsTable
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.hosts import Host
from sparkle_app.storage.models import tables_of
from tests.support.memory_broker import MemoryBroker
from tests.support.memory_faust import MemoryApp, MemoryStream

GROUP, NAME = "memory", "Plain"
PARTITIONS = 2
BUCKET_SECONDS, RETENTION_SECONDS = 60, 300
SAMPLES = samples_topic(GROUP, NAME)
CHANGELOG = changelog_topic(GROUP, NAME, BUCKET_SECONDS)
CIPHER = Cipher(bytes(32))
METRICS = Metrics()
POINTS = ("fetched", "count", "counted", "flush", "send", "flushed", "store", "stored", "ack", "commit")
"""Before and after each step: a batch is fetched, counted, written to the table, the changelog topic (``send``: one
partition of it) and SQL, acknowledged and committed."""
Reached = Callable[["AggregateWorker", str], Awaitable[None]]


class DataFrame(ReadingsTable):
    __tablename__ = "memory_readings"


class Aggregates(AggregatesTable):
    __tablename__ = "memory_aggregates"


class Plain(Plugin):
    """A plugin that overrides no method."""

    DataFrame = DataFrame
    Aggregates = Aggregates


PLUGIN = Plain()


def plain_reading(number: int, hostname: str, metric: str, at: int, value: float) -> Reading:
    """A reading whose id is derived from ``number``."""
    return Reading(
        id=number.to_bytes(8) + bytes(8),
        config_id=1,
        hostname=hostname,
        plugin=NAME,
        key=metric,
        value=value,
        observed_at=at,
        received_at=at,
        clock_trusted=True,
        topic="telemetry",
        partition=0,
        offset=number,
    )


class InlineExecutor(Executor):
    """Runs each function immediately, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As in Executor."""
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done


def sqlite_engine(folder: Path) -> Engine:
    """A database with the plugin's tables, without synchronous writes: it need not survive a power failure."""
    engine = make_engine(make_url(f"sqlite:///{folder}/readings.sqlite3"))
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    Base.metadata.create_all(engine, [*tables_of(DataFrame, Aggregates), Host.__table__])
    return engine


async def create_topics(broker: MemoryBroker) -> None:
    """Create the topics of the worker."""
    for topic in (SAMPLES, CHANGELOG):
        await broker.create_topic(topic, PARTITIONS)


def forwarder(app: MemoryApp) -> Forwarder:
    """A forwarder that produces samples for the worker."""
    return Forwarder({NAME: app.publisher(SAMPLES)}, {NAME: PLUGIN}, CIPHER, PARTITIONS)


async def _nothing(worker: "AggregateWorker", point: str) -> None:
    """The default of ``reached``: does nothing."""


class AggregateWorker:
    """The aggregate agent and the bucket table of one worker.

    Arguments:
        reached: awaited at each of :data:`POINTS`; an exception that it raises is raised in the worker there.
    """

    def __init__(
        self, broker: MemoryBroker, engine: Engine, clock: Callable[[], float], reached: Reached = _nothing
    ) -> None:
        self.app = MemoryApp(broker, GROUP, [SAMPLES])
        self.reached = reached
        self.table = _Table(
            self.app,
            name=table_name(NAME, BUCKET_SECONDS),
            cipher=lambda: CIPHER,
            host_partitions=PARTITIONS,
        )
        self.table.worker = self
        self.app.tables.add(self.table)
        self.aggregator = _Aggregator(
            NAME, PLUGIN, self.table, engine, InlineExecutor(), BUCKET_SECONDS, RETENTION_SECONDS, clock
        )
        self.aggregator.worker = self
        self.pipeline = AggregatePipeline(
            Membership(self.app),
            TableRecovery(self.app),
            NAME,
            self.table,
            self.aggregator,
            CIPHER,
            METRICS,
            wait=0.0,
            clock=clock,
        )
        self.table.on_recover(self.pipeline.restore)
        self.stream = _Stream(self.app, lambda: self.at("fetched"))
        self.stream.worker = self

    async def at(self, point: str) -> None:
        """Called when the worker reaches a point."""
        await self.reached(self, point)

    async def start(self) -> None:
        """Join the group, then recover and restore the table."""
        await self.app.join()

    async def work(self) -> None:
        """Process all messages that have been produced."""
        await self.pipeline.run(self.stream.stream)

    def buckets(self) -> dict[tuple[str, int], Bucket]:
        """The buckets in the table."""
        return {key: Bucket.unpack(packed) for key, packed in self.table.data.items()}


class _Table(BucketTable):
    worker: AggregateWorker

    async def flush(self) -> None:
        await self.worker.at("flush")
        await super().flush()
        await self.worker.at("flushed")

    async def _send(self, partition: int, records: Any, timestamp: int | None = None) -> None:
        await self.worker.at("send")
        await super()._send(partition, records, timestamp)


class _Aggregator(Aggregator):
    worker: AggregateWorker

    async def count(self, many: Iterable[Samples]) -> tuple[Changed, int]:
        await self.worker.at("count")
        counted = await super().count(many)
        await self.worker.at("counted")
        return counted

    async def store(self, changed: Changed, messages: Iterable[Samples] = ()) -> Dropped:
        await self.worker.at("store")
        dropped = await super().store(changed, messages)
        await self.worker.at("stored")
        return dropped


class _Stream(MemoryStream):
    worker: AggregateWorker

    async def ack(self, event: Any) -> bool:
        await self.worker.at("ack")
        acked = await super().ack(event)
        # Faust commits every second, so possibly immediately after the acknowledgement.
        await self.worker.at("commit")
        await self.worker.app.batching.commit()
        return acked
