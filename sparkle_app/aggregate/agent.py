"""The aggregate agent of a plugin: samples in, buckets to the table and to SQL."""

import asyncio
import logging
from typing import Any

from faust import App
from faust.types import EventT, StreamT

from sparkle_app.aggregate.aggregator import Aggregator, Changed
from sparkle_app.aggregate.table import BucketTable
from sparkle_app.kafka.record_batches import Events
from sparkle_app.kafka.streams import batches
from sparkle_app.model.sample import Samples
from sparkle_app.runtime.metrics import Metrics, Stage
from sparkle_app.runtime.process import exit_process
from sparkle_app.runtime.retry import retry
from sparkle_app.sealed.cipher import Cipher, DecryptionError
from sparkle_app.sealed.samples import unpack_samples

logger = logging.getLogger(__name__)
# Each message holds the samples of a whole batch, for one partition.
_MAX_MESSAGES = 200


class RebalancedError(Exception):
    """Partitions changed hands while a batch was under way: it will be delivered again, to whom it belongs now."""


class AggregatePipeline:
    """The way of samples: count, write to the table, write to SQL, acknowledge."""

    def __init__(
        self,
        app: App,
        name: str,
        table: BucketTable,
        aggregator: Aggregator,
        cipher: Cipher,
        metrics: Metrics,
        wait: float,
    ) -> None:
        self._app = app
        self._name = name
        self._table = table
        self._aggregator = aggregator
        self._cipher = cipher
        self._metrics = metrics
        self._wait = wait

    async def restore(self) -> None:
        """Called when the table was recovered from its changelog, before it is used."""
        try:
            with self._metrics.stage_seconds.labels(Stage.RESTORE).time():
                await retry(Stage.RESTORE, self._metrics, self._aggregator.restore)
        except Exception:
            # Faust would go on with a table that may lack something.
            logger.exception("a fault that has no name yet; please report it")
            exit_process(f"stopping: the table of {self._name} could not be restored")

    async def run(self, stream: StreamT[Any]) -> None:
        """Handle the stream's batches in order. It must never raise: Faust would acknowledge the batch."""
        async for events in batches(stream, _MAX_MESSAGES, self._wait):
            try:
                await self._handle(stream, events)
            except RebalancedError:
                logger.info(
                    "%s: partitions changed hands, %d messages will come again", self._name, len(events)
                )
            except asyncio.CancelledError:
                raise
            except Exception:
                logger.exception("a fault that has no name yet; please report it")
                exit_process(
                    f"stopping: {len(events)} messages of {self._name} were not acknowledged and will come again"
                )

    async def _handle(self, stream: StreamT[Any], events: Events) -> None:
        generation = self._app.consumer_generation_id
        # What was taken before partitions changed hands comes again, to whom it belongs now.
        events = [event for event in events if event.message.generation_id == generation]
        samples = [self._decrypt(event) for event in events]
        with self._metrics.stage_seconds.labels(Stage.AGGREGATE).time():
            changed, recomputed = await retry(
                Stage.AGGREGATE, self._metrics, lambda: self._aggregator.count(samples)
            )
        with self._metrics.stage_seconds.labels(Stage.TABLE).time():
            await retry(Stage.TABLE, self._metrics, lambda: self._write(changed, generation))
        self._metrics.recomputed.labels(self._name).inc(recomputed)
        with self._metrics.stage_seconds.labels(Stage.SINK).time():
            await retry(Stage.SINK, self._metrics, lambda: self._aggregator.store(changed))
        self._check_generation(generation)
        for event in events:
            await stream.ack(event)

    async def _write(self, changed: Changed, generation: int) -> None:
        # No other task runs between this check and the writes.
        self._check_generation(generation)
        self._aggregator.update_table(changed)
        await self._table.flush()

    def _check_generation(self, generation: int) -> None:
        """A table that is being recovered, or is another worker's now, must not be written to."""
        if self._app.rebalancing or self._app.in_recovery or self._app.consumer_generation_id != generation:
            raise RebalancedError

    def _decrypt(self, event: EventT[bytes]) -> Samples:
        message = event.message
        try:
            return unpack_samples(self._cipher.decrypt(message.value or b"", message.topic.encode()))
        except DecryptionError as error:
            exit_process(
                f"topic {message.topic}, partition {message.partition}, offset {message.offset}:"
                f" expected a message of this handler, found one {error}"
            )
