"""The ingest agent of a plugin topic: opens one batch while the one before it is stored and forwarded."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

from faust.types import StreamT

from sparkle_app.dead_letters.message import REPLAY_HEADER, replayed_record
from sparkle_app.dead_letters.publisher import DeadLetterOffice, TooManyDeadLetters
from sparkle_app.envelope.v1 import Record
from sparkle_app.ingest.decryption_pool import Opened, Opener, OpenerDied
from sparkle_app.ingest.forwarder import Forwarder
from sparkle_app.ingest.sql_writer import ReadingStore
from sparkle_app.kafka.record_batches import Events, records_of
from sparkle_app.kafka.streams import batches_of_records
from sparkle_app.model.errors import BadRecord
from sparkle_app.plugin_api import Reading
from sparkle_app.runtime.metrics import Metrics, Stage
from sparkle_app.runtime.process import leave
from sparkle_app.runtime.retry import until_done
from sparkle_app.sealed.cipher import Sealer

logger = logging.getLogger(__name__)
Letters = list[tuple[Record, BadRecord]]


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
            records, replayed = self._records(events)
            opening = asyncio.create_task(self._opener.open(records))
            # One batch opens while one is finished: acknowledgements stay in order, memory stays bounded.
            if finishing:
                await finishing
            finishing = asyncio.create_task(self._finish(stream, events, records, replayed, opening))

    async def _finish(
        self,
        stream: StreamT[Any],
        events: Events,
        records: Sequence[Record],
        replayed: Sequence[Record],
        opening: "asyncio.Task[list[Opened]]",
    ) -> None:
        try:
            with self._metrics.stage_seconds.labels(Stage.OPEN).time():
                opened = await opening
            await self._keep(records, opened, replayed)
            for event in events:
                await stream.ack(event)
            self._metrics.records.labels(records[0].topic).inc(len(records))
        except asyncio.CancelledError:
            raise
        except TooManyDeadLetters as fault:
            leave(str(fault))
        except OpenerDied:
            leave(
                "stopping: a process that decrypts was killed (out of memory?);"
                f" {len(records)} records from {records[0].topic} were not acknowledged and will come again"
            )
        except Exception:
            logger.exception("a fault that has no name yet; please report it")
            leave(
                f"stopping: {len(records)} records from {records[0].topic} were not acknowledged and will come again"
            )

    async def _keep(
        self, records: Sequence[Record], opened: Sequence[Opened], replayed: Sequence[Record]
    ) -> None:
        """Make a batch durable: every record is a row, or a dead letter."""
        metrics = self._metrics
        readings = [each for each in opened if isinstance(each, Reading)]
        letters: Letters = [
            (r, bad) for r, bad in zip(records, opened, strict=True) if isinstance(bad, BadRecord)
        ]
        with metrics.stage_seconds.labels(Stage.STORE).time():
            stored, refused = await until_done(Stage.STORE, metrics, lambda: self._store.store(readings))
        if refused:
            by_place = {_place(record): record for record in records}
            letters += [(by_place[_place(reading)], bad) for reading, bad in refused]
        if letters:
            # Those that were letters before are none the more.
            before = set(map(_place, replayed))
            new = [letter for letter in letters if _place(letter[0]) not in before]
            self._office.admit(new, len(records) - len(replayed))
            with metrics.stage_seconds.labels(Stage.DEAD_LETTERS).time():
                await until_done(Stage.DEAD_LETTERS, metrics, lambda: self._office.send(letters))
        with metrics.stage_seconds.labels(Stage.FORWARD).time():
            await until_done(Stage.FORWARD, metrics, lambda: self._forwarder.forward(stored))
        if replayed:
            still_bad = {_place(record) for record, _ in letters}
            mended = [record for record in replayed if _place(record) not in still_bad]
            await until_done(Stage.DEAD_LETTERS, metrics, lambda: self._office.withdraw(mended))
        for plugin, number in Counter(reading.plugin for reading in stored).items():
            metrics.readings.labels(plugin).inc(number)
        for plugin, number in Counter(each.plugin for each in stored if not each.clock_trusted).items():
            metrics.clocks_not_believed.labels(plugin).inc(number)

    def _records(self, events: Events) -> tuple[list[Record], list[Record]]:
        """The records of a batch, and those among them that were dead letters and were sent back through."""
        records, replayed = [], []
        for fetched in chain.from_iterable(map(records_of, events)):
            # A record without a value (a tombstone) is no JSON either.
            value = fetched.value or b""
            ticket = dict(fetched.headers).get(REPLAY_HEADER) if fetched.headers else None
            record = replayed_record(value, ticket, self._sealer) if ticket else None
            if record:
                replayed.append(record)
            else:
                record = Record(fetched.topic, fetched.partition, fetched.offset, fetched.timestamp, value)
            records.append(record)
        return records, replayed


def _place(of: Record | Reading) -> tuple[str, int, int]:
    return of.topic, of.partition, of.offset
