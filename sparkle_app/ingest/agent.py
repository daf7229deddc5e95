"""The ingest agent of a plugin topic: decrypts a batch while it stores and forwards the previous one."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec
from faust.types import StreamT

from sparkle_app.dead_letters.message import REPLAY_HEADER, replayed_record
from sparkle_app.dead_letters.publisher import DeadLetterPublisher
from sparkle_app.ingest.batch_limit import BatchLimit
from sparkle_app.ingest.decryption_pool import BrokenPoolError, DecryptionPool
from sparkle_app.ingest.forwarder import Forwarder
from sparkle_app.ingest.held_partitions import HeldPartitions
from sparkle_app.ingest.host_recorder import RecentActivity
from sparkle_app.ingest.key_breaker import KeyBreaker
from sparkle_app.ingest.sql_writer import SqlWriter
from sparkle_app.kafka.record_batches import Events, records_of
from sparkle_app.kafka.streams import batches_of_records
from sparkle_app.model.record import Outcome, Record
from sparkle_app.model.retention import DAY
from sparkle_app.model.time import (
    from_millis,
    from_seconds,
    is_plausible,
    micros,
    span,
    to_millis,
    to_seconds,
)
from sparkle_app.runtime.expired_readings import ExpiredReadings
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.runtime.process import exit_process
from sparkle_app.runtime.retry import retry
from sparkle_app.runtime.stages import Stage
from sparkle_app.runtime.terminal import counted
from sparkle_app.sealed.cipher import Cipher

# The timestamps of hosts whose clocks are right are in order up to the time that a record waits at its host.
_BEHIND = span(2 * DAY)

logger = logging.getLogger(__name__)


class IngestPipeline:
    """Stages of a batch: decrypt, store, produce dead letters, forward, acknowledge.

    A reading that is older than the retention period is counted, and neither stored nor forwarded.

    Stages run in order, and each is retried until it succeeds. A batch is acknowledged only when all its results are
    durable.

    Arguments:
        batch_size: maximum number of records that are decrypted together, and of readings in one transaction.
        batch_wait: seconds to wait for a batch to fill.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        pool: DecryptionPool,
        writer: SqlWriter,
        forwarder: Forwarder,
        dead_letters: DeadLetterPublisher,
        breaker: KeyBreaker,
        hosts: RecentActivity,
        cipher: Cipher,
        metrics: Metrics,
        batch_size: int,
        batch_wait: float,
        clock: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._writer = writer
        self._forwarder = forwarder
        self._dead_letters = dead_letters
        self._hosts = hosts
        self._cipher = cipher
        self._metrics = metrics
        self._batch_size = batch_size
        self._limit = BatchLimit(batch_size)
        self._decrypted_at = 0.0
        self._batch_wait = batch_wait
        self._clock = clock
        self._expired = ExpiredReadings(metrics)
        self._held = HeldPartitions(breaker)
        # The newest timestamp of each partition so far, without those ahead of the clock.
        self._newest: dict[int, int] = {}

    async def run(self, stream: StreamT[Any]) -> None:
        """Process the stream's batches in order. Must never raise: Faust would acknowledge the batch.

        When it is cancelled, the batches in progress are abandoned, and redelivered.
        """
        decrypting: asyncio.Task[list[Outcome]] | None = None
        previous: asyncio.Task[None] | None = None
        try:
            async for events in batches_of_records(stream, lambda: self._limit.records, self._batch_wait):
                records = self._records(events)
                decrypting = asyncio.create_task(self._decrypt(records))
                # At most two batches are in progress: acknowledgements stay in order, and memory stays bounded.
                if previous:
                    await previous
                previous = asyncio.create_task(self._finish(stream, events, decrypting))
            if previous:
                await previous
        finally:
            # Faust stops the producer as soon as its agents have ended: no task may go on.
            await _end(task for task in (previous, decrypting) if task)

    async def _decrypt(self, records: Sequence[Record]) -> list[Outcome]:
        submitted = time.perf_counter()
        with self._metrics.stage(Stage.OPEN):
            outcomes = await self._pool.decrypt(records)
        # Before that, the pool decrypted the previous batch.
        began, self._decrypted_at = max(submitted, self._decrypted_at), time.perf_counter()
        self._limit.decrypted(len(records), self._decrypted_at - began)
        return outcomes

    def _without_held(self, events: Events, outcomes: list[Outcome]) -> list[Outcome]:
        """The outcomes to process now."""
        held = self._held.to_hold(events, outcomes)
        if not held:
            return outcomes
        self._metrics.held_back.labels(held[0].record.topic).inc(len(held))
        identities = {id(outcome) for outcome in held}
        return [outcome for outcome in outcomes if id(outcome) not in identities]

    async def _finish(
        self, stream: StreamT[Any], events: Events, decrypting: "asyncio.Task[list[Outcome]]"
    ) -> None:
        number = sum(len(records_of(event)) for event in events)
        topic = events[0].message.topic
        try:
            outcomes = self._without_held(events, await decrypting)
            began = time.perf_counter()
            for group in bounded_groups(outcomes, self._batch_size):
                await self._make_durable(group)
            for event in events:
                if not self._held.contains(event):
                    await stream.ack(event)
            self._limit.stored(time.perf_counter() - began)
            self._metrics.records.labels(topic).inc(number)
        except asyncio.CancelledError:
            raise
        except BrokenPoolError:
            exit_process(
                "exiting: a process of the decryption pool was killed (out of memory?);"
                f" {counted(number, 'record')} of topic {topic}, not acknowledged, will be redelivered"
            )
        except Exception:
            logger.exception("unexpected error; please report it")
            exit_process(
                f"exiting: {counted(number, 'record')} of topic {topic}, not acknowledged, will be redelivered"
            )

    async def _make_durable(self, outcomes: Sequence[Outcome]) -> None:
        """Store and forward every reading, or produce a dead letter for it."""
        metrics = self._metrics
        stored, refused, expired = await retry(Stage.STORE, metrics, lambda: self._writer.store(outcomes))
        for refusal in refused:
            refusal.outcome.reject(refusal.reading, refusal.error)
        if rejections := [each for outcome in outcomes if outcome.errors for each in outcome.rejections]:
            produced = self._dead_letters.within_limit(rejections)
            await retry(Stage.DEAD_LETTERS, metrics, lambda: self._dead_letters.send(produced))
        await retry(Stage.FORWARD, metrics, lambda: self._forwarder.forward(stored))
        replayed = [outcome for outcome in outcomes if outcome.record.replayed]
        if resolved := replayed + self._held.take_resolved(outcomes):
            await retry(Stage.DEAD_LETTERS, metrics, lambda: self._dead_letters.delete_resolved(resolved))
        self._held.note_rejected(outcomes)
        self._hosts.note(stored, clock_offsets(outcomes))
        if expired:
            self._expired.note(expired)
        for plugin, readings in stored.items():
            last = max((each.received_at for each in readings), default=None)
            if last is not None:
                metrics.stored(plugin, len(readings), max(self._clock() - to_seconds(last), 0.0))
            if untrusted := sum(not each.clock_trusted for each in readings):
                metrics.untrusted_clocks(plugin, untrusted)

    def _records(self, events: Events) -> list[Record]:
        """The records of a batch. Replayed ones get their original topic, partition, offset and timestamp."""
        records, now = [], from_seconds(self._clock())
        for fetched in chain.from_iterable(map(records_of, events)):
            # A record without a value becomes a dead letter: an empty value is not JSON.
            value = fetched.value or b""
            token = dict(fetched.headers).get(REPLAY_HEADER) if fetched.headers else None
            record = replayed_record(value, token, self._cipher) if token else None
            if not record:
                at = from_millis(fetched.timestamp)
                behind = self._is_behind(fetched.partition, at, now)
                record = Record(
                    fetched.topic,
                    fetched.partition,
                    fetched.offset,
                    at,
                    value,
                    behind=behind,
                    omitted_bytes=0 if value else max(fetched.serialized_value_size, 0),
                )
            if not is_plausible(record.received_at):
                own = to_millis(record.received_at)
                record = msgspec.structs.replace(record, received_at=now, timestamp=own)
            records.append(record)
        return records

    def _is_behind(self, partition: int, at: int, now: int) -> bool:
        """Whether a timestamp is days before that of a record that precedes it in its partition."""
        newest = self._newest.get(partition, 0)
        if newest < at <= now:
            self._newest[partition] = at
        return at < newest - _BEHIND


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and wait until they have ended."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def clock_offsets(outcomes: Sequence[Outcome]) -> dict[bytes, int]:
    """Of the readings whose clock is not trusted: by id, the local time minus the record's timestamp, microseconds."""
    return {
        reading.id: micros(reading.local_time) - reading.received_at
        for outcome in outcomes
        for reading in outcome.readings
        if not reading.clock_trusted and reading.local_time
    }


def bounded_groups(outcomes: Sequence[Outcome], max_readings: int) -> Iterator[Sequence[Outcome]]:
    """Split outcomes, in order, into groups of at most ``max_readings``; a larger record is a group of its own."""
    group: list[Outcome] = []
    size = 0
    for outcome in outcomes:
        number = len(outcome.readings) + len(outcome.errors)
        if group and size + number > max_readings:
            yield group
            group, size = [], 0
        group.append(outcome)
        size += number
    if group:
        yield group
