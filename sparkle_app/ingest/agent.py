"""The ingest agent of a plugin topic: opens one batch while the one before it is stored and forwarded."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from faust.types import StreamT

from sparkle_app.dead_letters.message import REPLAY_HEADER, replayed_record
from sparkle_app.dead_letters.publisher import DeadLetterOffice, TooManyDeadLetters
from sparkle_app.ingest.decryption_pool import Opener, OpenerDied
from sparkle_app.ingest.forwarder import Forwarder
from sparkle_app.ingest.sql_writer import ReadingStore
from sparkle_app.kafka.record_batches import Events, records_of
from sparkle_app.kafka.streams import batches_of_records
from sparkle_app.model.record import Outcome, Record
from sparkle_app.model.time import from_millis
from sparkle_app.runtime.metrics import Metrics, Stage
from sparkle_app.runtime.process import leave
from sparkle_app.runtime.retry import until_done
from sparkle_app.sealed.cipher import Sealer

logger = logging.getLogger(__name__)


class Ingest:
    """The way of a batch: open, store, forward, send dead letters, acknowledge. One step after the other, each
    repeated until it is done; nothing is acknowledged before all of it is durable."""

    def __init__(
        self,
        opener: Opener,
        store: ReadingStore,
        forwarder: Forwarder,
        office: DeadLetterOffice,
        sealer: Sealer,
        metrics: Metrics,
        batch_size: int,
        batch_wait: float,
    ) -> None:
        self._opener = opener
        self._store = store
        self._forwarder = forwarder
        self._office = office
        self._sealer = sealer
        self._metrics = metrics
        self._batch_size = batch_size
        self._batch_wait = batch_wait

    async def run(self, stream: StreamT[Any]) -> None:
        """Handle the stream's batches in order. It must never raise: Faust would acknowledge the batch."""
        finishing: asyncio.Task[None] | None = None
        async for events in batches_of_records(stream, self._batch_size, self._batch_wait):
            records = self._records(events)
            opening = asyncio.create_task(self._opener.open(records))
            # One batch opens while one is finished: acknowledgements stay in order, memory stays bounded.
            if finishing:
                await finishing
            finishing = asyncio.create_task(self._finish(stream, events, opening))

    async def _finish(
        self, stream: StreamT[Any], events: Events, opening: "asyncio.Task[list[Outcome]]"
    ) -> None:
        number = sum(len(records_of(event)) for event in events)
        topic = events[0].message.topic
        try:
            with self._metrics.stage_seconds.labels(Stage.OPEN).time():
                outcomes = await opening
            for some in in_groups(outcomes, self._batch_size):
                await self._keep(some)
            for event in events:
                await stream.ack(event)
            self._metrics.records.labels(topic).inc(number)
        except asyncio.CancelledError:
            raise
        except TooManyDeadLetters as fault:
            leave(str(fault))
        except OpenerDied:
            leave(
                "stopping: a process that decrypts was killed (out of memory?);"
                f" {number} records from {topic} were not acknowledged and will come again"
            )
        except Exception:
            logger.exception("a fault that has no name yet; please report it")
            leave(f"stopping: {number} records from {topic} were not acknowledged and will come again")

    async def _keep(self, outcomes: Sequence[Outcome]) -> None:
        """Make records durable: every reading is a row, or a dead letter."""
        metrics = self._metrics
        with metrics.stage_seconds.labels(Stage.STORE).time():
            stored, refused = await until_done(Stage.STORE, metrics, lambda: self._store.store(outcomes))
        for refusal in refused:
            refusal.outcome.reject(refusal.reading, refusal.error)
        if rejections := [each for outcome in outcomes for each in outcome.rejections]:
            # Those that were letters before are none the more.
            new = [outcome for outcome in outcomes if not outcome.record.replayed]
            self._office.admit([each for outcome in new for each in outcome.rejections], len(new))
            with metrics.stage_seconds.labels(Stage.DEAD_LETTERS).time():
                await until_done(Stage.DEAD_LETTERS, metrics, lambda: self._office.send(rejections))
        with metrics.stage_seconds.labels(Stage.FORWARD).time():
            await until_done(Stage.FORWARD, metrics, lambda: self._forwarder.forward(stored))
        if replayed := [outcome for outcome in outcomes if outcome.record.replayed]:
            await until_done(Stage.DEAD_LETTERS, metrics, lambda: self._office.withdraw(replayed))
        for plugin, readings in stored.items():
            metrics.readings.labels(plugin).inc(len(readings))
            if wrong := sum(not each.clock_trusted for each in readings):
                metrics.clocks_not_believed.labels(plugin).inc(wrong)

    def _records(self, events: Events) -> list[Record]:
        """The records of a batch; those that were dead letters as they were at first."""
        records = []
        for fetched in chain.from_iterable(map(records_of, events)):
            # A record without a value (a tombstone) is no JSON either.
            value = fetched.value or b""
            ticket = dict(fetched.headers).get(REPLAY_HEADER) if fetched.headers else None
            record = replayed_record(value, ticket, self._sealer) if ticket else None
            if not record:
                at = from_millis(fetched.timestamp)
                record = Record(fetched.topic, fetched.partition, fetched.offset, at, value)
            records.append(record)
        return records


def in_groups(outcomes: Sequence[Outcome], most: int) -> Iterator[Sequence[Outcome]]:
    """Outcomes in order, in groups of at most ``most`` readings; a record with more of them is a group of its own."""
    group: list[Outcome] = []
    size = 0
    for outcome in outcomes:
        number = len(outcome.readings) + len(outcome.errors)
        if group and size + number > most:
            yield group
            group, size = [], 0
        group.append(outcome)
        size += number
    if group:
        yield group
