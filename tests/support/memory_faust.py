"""A Faust application on a :class:`MemoryBroker`: its producer and consumer are the real ones, without their threads.

Nothing is started: :meth:`MemoryApp.rebalance` does what Faust does when partitions are assigned, and a
:class:`MemoryStream` delivers what the consumer fetches.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from types import SimpleNamespace
from typing import Any, cast

import faust
from aiokafka import TopicPartition
from faust.events import Event
from faust.types import TP, EventT, StreamT
from faust.types.settings import Settings

from sparkle_app.aggregate.table import BucketTable
from sparkle_app.kafka.consumer import BatchingConsumer, BatchingTransport, ReconnectingProducer
from sparkle_app.kafka.consumer_thread import ConsumerThread
from sparkle_app.kafka.publisher import TopicPublisher
from sparkle_app.kafka.record_batches import RecordBatch
from tests.support.memory_broker import MemoryBroker
from tests.support.memory_clients import MemoryConsumer

# Faust would warn about missing sensor state at every rebalance, because this application has no sensors.
logging.getLogger(__name__).setLevel(logging.ERROR)
# Cached by group: creating them takes longer than everything else.
_settings: dict[str, Settings] = {}


class MemoryApp(faust.App):
    """A worker's application, reduced to what consumer, producer and tables need.

    Arguments:
        broker: the broker that it connects to.
        group: the consumer group.
        topics: the topics that it consumes.
        batched: the topics whose records are delivered in record batches.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        group: str,
        topics: Collection[str] = (),
        batched: Collection[str] = (),
        max_batch_records: int = 250,
    ) -> None:
        self.broker = broker
        self.connection = broker.consumer(*topics, group=group)
        self._batched, self._max_batch_records = batched, max_batch_records
        self.expired: Counter[str] = Counter()
        """The number of expired records of each topic."""
        options = {"broker": "kafka://memory", "store": "memory://", "autodiscover": False, "Topic": _Topic}
        super().__init__(group, **cast(Any, options))
        if group in _settings:
            self.conf = _settings[group]
        _settings[group] = self.conf
        # Faust adds the topics to this set when it subscribes to them.
        cast(Any, self.topics)._acking_topics.update(topics)
        self.assignor = cast(Any, SimpleNamespace(assigned_actives=self.assigned))

    def _new_transport(self) -> BatchingTransport:
        return _Transport(
            self.conf.broker_consumer,
            self,
            batched_topics=self._batched,
            max_batch_records=self._max_batch_records,
            count_expired=lambda topic, number: self.expired.update({topic: number}),
        )

    def _new_producer_transport(self) -> BatchingTransport:
        return self._new_transport()

    def _new_consumer(self) -> Any:
        return self.transport.create_consumer(
            callback=_nothing, on_partitions_revoked=_nothing, on_partitions_assigned=_nothing
        )

    @property
    def batching(self) -> BatchingConsumer:
        """The consumer."""
        return cast(BatchingConsumer, self.consumer)

    def publisher(self, topic: str) -> TopicPublisher:
        """As in SparkleApp."""
        raw = {"key_type": bytes, "key_serializer": "raw", "value_type": bytes, "value_serializer": "raw"}
        return TopicPublisher(self.topic(topic, **cast(Any, raw)))

    def assigned(self) -> set[TP]:
        """This worker's partitions of the changelog topics: the same numbers as of the topics that it consumes."""
        mine = {at.partition for at in self.connection.assignment()}
        return {TP(name, number) for name in self.tables.changelog_topics for number in mine}

    async def join(self) -> None:
        """Join the group."""
        await self.connection.start()
        await self.rebalance()

    async def rebalance(self) -> None:
        """After an assignment of partitions: recover the tables, and seek to the committed offsets."""
        self.on_rebalance_start()
        generation = self.connection._coordinator.generation
        self.consumer_generation_id = generation
        assigned = {TP(*at) for at in self.connection.assignment()}
        await self.batching.on_partitions_assigned(assigned, generation)
        self.on_rebalance_end()
        cast(Any, self.tables).recovery._generation_id = generation
        self.in_recovery = True
        for table in self.tables.values():
            changelog = [
                TopicPartition(*at) for at in self.assigned() if at.topic == table.changelog_topic_name
            ]
            async for event in self._changelog(changelog):
                cast(BucketTable, table).apply_changelog_batch([event])
        self.in_recovery = False
        for table in self.tables.values():
            await table.on_recovery_completed(self.assigned(), set())
        # Another rebalance may have occurred meanwhile, as in a worker.
        if generation == self.consumer_generation_id:
            cast(Any, self.tables).on_actives_ready()
            await self.batching.perform_seek()
            self.batching.resume_flow()

    async def _changelog(self, partitions: list[TopicPartition]) -> AsyncIterator[Any]:
        reader = self.broker.consumer()
        reader.assign(partitions)
        while fetched := await reader.getmany(max_records=10):
            for at, records in fetched.items():
                yield SimpleNamespace(message=RecordBatch(TP(*at), records, self.consumer_generation_id))


class MemoryStream:
    """The methods of a Faust stream that the pipelines use. It ends when there are no more records to fetch.

    Arguments:
        app: the application whose consumer fetches the records.
        on_fetched: awaited between the fetch of a batch and its delivery.
    """

    def __init__(self, app: MemoryApp, on_fetched: Callable[[], Awaitable[None]] | None = None) -> None:
        self._app = app
        self._on_fetched = on_fetched
        self.acked: list[tuple[TP, int]] = []
        """Partition and offset of each acknowledged event, in order."""

    @property
    def stream(self) -> StreamT[Any]:
        """This object, with the type that the pipelines require."""
        return cast("StreamT[Any]", self)

    async def noack_take(self, max_: int, within: float) -> AsyncIterator[Sequence[Event]]:
        """As in Faust: at most ``max_`` events at a time, which are not acknowledged."""
        consumer = self._app.batching
        waiting: list[Event] = []
        while True:
            async for _, message in consumer.getmany(timeout=0):
                waiting.append(Event(self._app, None, message.value, message.headers, message))
            if not waiting:
                return
            if self._on_fetched:
                await self._on_fetched()
            events, waiting = waiting[:max_], waiting[max_:]
            yield events

    async def ack(self, event: EventT[Any]) -> bool:
        """As in Faust."""
        self.acked.append((event.message.tp, event.message.offset))
        return bool(event.ack())


class _Topic(faust.Topic):
    def _on_published(self, fut: Any, message: Any, *args: Any, **kwargs: Any) -> None:
        super()._on_published(fut, message, *args, **kwargs)
        # Otherwise asyncio would log that the exception was never retrieved, possibly during another test.
        message.exception()


class _MemoryThread(ConsumerThread):
    """The thread of the Kafka client; here every call is executed immediately, in the caller's thread."""

    app: MemoryApp

    async def call_thread(self, fun: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        return await fun(*args, **kwargs)

    def _ensure_consumer(self) -> MemoryConsumer:
        return self.app.connection

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109
        max_records: int | None = None,
    ) -> Any:
        fetched = await consumer.getmany(
            *map(TopicPartition._make, active_partitions), max_records=max_records
        )
        return {TP(*at): records for at, records in fetched.items()}


class _Consumer(BatchingConsumer):
    def _new_consumer_thread(self) -> ConsumerThread:
        return _MemoryThread(self, self.logs, loop=self.loop, thread_loop=self.loop, beacon=self.beacon)


class _Producer(ReconnectingProducer):
    app: MemoryApp

    async def maybe_start(self) -> bool:
        """Does nothing: there is no connection."""
        return False

    def _ensure_producer(self) -> Any:
        return self.app.broker.producer()


class _Transport(BatchingTransport):
    Consumer = _Consumer
    Producer = _Producer


async def _nothing(*_: Any, **__: Any) -> None:
    """A callback that does nothing."""
