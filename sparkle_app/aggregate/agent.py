"""The aggregate agent of a plugin: counts samples in buckets, and writes the buckets to the table and to SQL."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
from faust.types import EventT, StreamT

from sparkle_app.aggregate.aggregator import Aggregator
from sparkle_app.aggregate.stored_buckets import Changed
from sparkle_app.aggregate.table import BucketTable
from sparkle_app.kafka.membership import Membership, TableRecovery
from sparkle_app.kafka.record_batches import Events
from sparkle_app.kafka.streams import batches
from sparkle_app.model.sample import Samples
from sparkle_app.plugin.failures import PluginError
from sparkle_app.runtime.expired_readings import ExpiredReadings
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.runtime.process import exit_process
from sparkle_app.runtime.retry import retry
from sparkle_app.runtime.stages import Stage
from sparkle_app.runtime.terminal import counted
from sparkle_app.sealed.cipher import Cipher, DecryptionError
from sparkle_app.sealed.samples import unpack_samples

logger = logging.getLogger(__name__)
# Each message contains all samples of one ingest batch for one partition.
_MAX_MESSAGES = 200


class RebalancedError(Exception):
    """A rebalance occurred while a batch was in progress. It is redelivered to the new owners of its partitions."""


class AggregatePipeline:
    """Stages of a batch of samples: count, write to the table, write to SQL, acknowledge.

    Arguments:
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        group: Membership,
        recovery: TableRecovery,
        name: str,
        table: BucketTable,
        aggregator: Aggregator,
        cipher: Cipher,
        metrics: Metrics,
        wait: float,
        clock: Callable[[], float],
    ) -> None:
        self._group = group
        self._recovery = recovery
        self._name = name
        self._clock = clock
        self._table = table
        self._aggregator = aggregator
        self._cipher = cipher
        self._metrics = metrics
        self._wait = wait
        self._expired = ExpiredReadings(metrics)
        self._restoring: asyncio.Task[None] | None = None

    async def restore(self) -> None:
        """Called after the recovery of the table from its changelog topic, before the table is used.

        The tables of all plugins are recovered before any is used. So if the plugin raises an exception, this returns,
        and only the batches of this plugin wait until the table is restored.
        """
        failed = asyncio.Event()
        # Read once: Faust does not cancel this when a rebalance begins the next recovery.
        generation = self._recovery.generation
        self._restoring = asyncio.create_task(self._restore(generation, failed))
        failing = asyncio.create_task(failed.wait())
        await asyncio.wait([self._restoring, failing], return_when=asyncio.FIRST_COMPLETED)
        failing.cancel()
        if self._restoring.done():
            await self._restoring

    async def _restore(self, generation: int | None, failed: asyncio.Event) -> None:
        async def attempt() -> None:
            try:
                await self._aggregator.restore(generation)
            except PluginError:
                failed.set()
                raise

        try:
            await retry(Stage.RESTORE, self._metrics, attempt)
        except Exception:
            # Faust would continue with a table that may be incomplete.
            logger.exception("unexpected error; please report it")
            exit_process(f"exiting: the bucket table of {self._name} could not be restored")

    async def run(self, stream: StreamT[Any]) -> None:
        """Process the stream's batches in order. Must never raise: Faust would acknowledge the batch."""
        async for events in batches(stream, _MAX_MESSAGES, self._wait):
            try:
                await self._process(stream, events)
            except RebalancedError:
                logger.info(
                    "%s: rebalance; %s will be redelivered",
                    self._name,
                    counted(len(events), "sample message"),
                )
            except asyncio.CancelledError:
                raise
            except Exception:
                logger.exception("unexpected error; please report it")
                exit_process(
                    f"exiting: {counted(len(events), 'sample message')} of {self._name}, not acknowledged, will be"
                    " redelivered"
                )

    async def _process(self, stream: StreamT[Any], events: Events) -> None:
        if self._restoring:
            await asyncio.shield(self._restoring)
        generation = self._group.generation
        # Messages fetched before the last rebalance are redelivered to the new owners of their partitions.
        events = [event for event in events if event.message.generation_id == generation]
        samples = [self._decrypt(event) for event in events]
        changed, recomputed = await retry(
            Stage.AGGREGATE, self._metrics, lambda: self._aggregator.count(samples)
        )
        await retry(Stage.TABLE, self._metrics, lambda: self._write(changed, generation))
        if produced := max((event.message.timestamp or 0.0 for event in events), default=0.0):
            self._metrics.answered(self._name, max(self._clock() - produced, 0.0))
        self._metrics.recomputed.labels(self._name).inc(recomputed)
        dropped = await retry(Stage.SINK, self._metrics, lambda: self._aggregator.store(changed, samples))
        self._metrics.expired_aggregates.labels(self._name).inc(dropped.aggregates)
        self._expired.note(dropped.readings)
        self._check_generation(generation)
        for event in events:
            await stream.ack(event)

    async def _write(self, changed: Changed, generation: int) -> None:
        # No await between this check and the writes to the table: no rebalance can occur in between.
        self._check_generation(generation)
        self._aggregator.update_table(changed)
        await self._table.flush()

    def _check_generation(self, generation: int) -> None:
        """Prevents writes to a table that is being recovered, or whose partitions may belong to another worker."""
        if not self._group.keeps(generation):
            raise RebalancedError

    def _decrypt(self, event: EventT[bytes]) -> Samples:
        """The samples of a message; none if it cannot be decoded."""
        message = event.message
        try:
            return unpack_samples(self._cipher.decrypt(message.value or b"", message.topic.encode()))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # It would not be decoded later either. Which buckets lack its samples is not known.
            logger.error(
                "topic %s, partition %d, offset %d: expected samples, found a message that cannot be decoded: %s; it is"
                " skipped: to aggregate its readings, run `faust -A sparkle_app rebuild`",
                message.topic,
                message.partition,
                message.offset,
                error,
            )
            return {}
        except DecryptionError as error:
            exit_process(
                f"topic {message.topic}, partition {message.partition}, offset {message.offset}:"
                f" expected a sealed message, found one that cannot be decrypted: {error}"
            )
