"""Counts samples in buckets, and keeps the table and SQL consistent.

Three rules make aggregates exact. A bucket in the table contains the ids of the readings that it has counted, so a
sample that arrives more than once is counted once. A bucket that is not in the table (new, pruned, or lost with the
table) is recomputed from stored readings, which were committed before their samples were produced: a sample whose
reading is not among them is that of a reading that was deleted, or given to another host. After ``rebuild`` or
``import`` has changed aggregates, each bucket of the table is recomputed before it counts again: there are stored
readings without samples.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import Engine

from sparkle_app.aggregate.stored_buckets import Changed, StoredBuckets
from sparkle_app.aggregate.table import BucketKey, BucketTable
from sparkle_app.model.buckets import Bucket, bucket_start
from sparkle_app.model.retention import ExpiredReading, ExpiredReason
from sparkle_app.model.sample import Sample, Samples
from sparkle_app.model.time import LATEST, from_seconds, span
from sparkle_app.plugin_api import Plugin
from sparkle_app.runtime.terminal import counted

logger = logging.getLogger(__name__)
_SKEW_SECONDS = 10
# That a restore compares, each with one statement: with a few, the transaction would last long.
_RANGES = 60


class Dropped(NamedTuple):
    """What is not stored, because the readings have expired."""

    aggregates: int
    readings: Sequence[ExpiredReading]
    """Those whose samples were to be counted."""


class Aggregator:
    """Computes the aggregates of one plugin.

    Arguments:
        name: NAME of the plugin.
        plugin: its server half.
        table: the plugin's bucket table.
        engine: the database.
        executor: threads for database access.
        bucket_size: bucket size in seconds.
        retention: window retention in seconds.
        clock: seconds since the epoch; must not follow a step of the system's clock that is undone soon.
    """

    def __init__(
        self,
        name: str,
        plugin: Plugin,
        table: BucketTable,
        engine: Engine,
        executor: Executor,
        bucket_size: int,
        retention: int,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._stored = StoredBuckets(name, plugin, engine, bucket_size)
        self._table = table
        self._executor = executor
        self._bucket_size = bucket_size
        self._retention = retention
        self._clock = clock
        self._rebuilt_at: int | None = None
        """:attr:`Watermarks.rebuilt_at` when the buckets of the table that are not in ``_doubted`` were right."""
        self._doubted: set[BucketKey] = set()
        self._counted_after: int | None = None
        """``_rebuilt_at`` when the batch was counted."""

    async def count(self, messages: Iterable[Samples]) -> tuple[Changed, int]:
        """Count samples in their buckets, without writing the buckets.

        Returns:
            The buckets, and how many of them were recomputed from stored readings.

        Raises:
            TransientError: if stored readings are needed and the database does not work at this moment.
        """
        by_bucket: dict[BucketKey, list[Sample]] = {}
        for samples in messages:
            for hostname, samples_of_host in samples.items():
                for sample in samples_of_host:
                    key = (hostname, bucket_start(sample.observed_at, self._bucket_size))
                    by_bucket.setdefault(key, []).append(sample)
        self._counted_after = self._rebuilt_at
        store, doubted = self._table.data, self._doubted
        in_table = {
            key: Bucket.unpack(store[key]) for key in by_bucket if key in store and key not in doubted
        }
        missing = [key for key in by_bucket if key not in in_table]
        loop = asyncio.get_running_loop()
        recomputed = (
            await loop.run_in_executor(self._executor, self._stored.recompute, missing) if missing else {}
        )
        for key, bucket in in_table.items():
            for sample in by_bucket[key]:
                bucket.add(sample)
        # Includes buckets that had already counted all samples: a crash may have left them in the table but not in SQL.
        # And those of the table whose readings were deleted.
        buckets = {key: bucket for key, bucket in recomputed.items() if bucket.ids or key in store} | in_table
        return buckets, len(missing)

    def update_table(self, changed: Changed) -> None:
        """Write the buckets within the window retention to the table, and prune older ones from it."""
        oldest = self._oldest()
        for (hostname, start), bucket in changed.items():
            if not bucket.ids:
                if (hostname, start) in self._table.data:
                    self._table.pop((hostname, start))
            elif start >= oldest:
                self._table[self._table.interned_key(hostname, start)] = bucket.pack()
            self._doubted.discard((hostname, start))
        if oldest > self._table.pruned_before:
            self._table.prune(oldest)

    async def store(self, changed: Changed, messages: Iterable[Samples] = ()) -> Dropped:
        """Upsert the buckets into SQL, through the plugin, and the hours and days that contain them.

        Arguments:
            messages: the samples that were counted.

        Raises:
            TransientError: if the database does not work at this moment.
        """
        # Younger ones cannot have expired: readings are kept for longer than the table keeps buckets.
        old = list(_samples_before(messages, self._oldest()))
        if not changed and not old:
            return Dropped(0, [])
        loop, counted_after = asyncio.get_running_loop(), self._counted_after
        upsert = self._stored.upsert
        while (stored := await loop.run_in_executor(self._executor, upsert, changed, counted_after)) is None:
            recount = self._stored.recount
            changed, counted_after = await loop.run_in_executor(self._executor, recount, list(changed))
            # Those of the batch as well: the table does not have what was recomputed.
            self._doubted, self._rebuilt_at = set(self._table.data), counted_after
        aggregates, kept_since = stored
        expired = [
            ExpiredReading(
                self._name,
                hostname,
                sample.metric,
                sample.observed_at,
                ExpiredReason.UNCOUNTED,
                kept_since,
            )
            for hostname, sample in old
            if bucket_start(sample.observed_at, self._bucket_size) < kept_since
        ]
        return Dropped(aggregates, expired)

    async def restore(self, generation: int | None) -> None:
        """Recompute the buckets for which SQL and the recovered table have not counted equally many readings.

        The changelog topic may have been deleted, or may end with an outdated write of a worker that was suspended. SQL
        may lack samples that were not acknowledged, which are redelivered; or the readings of a bucket were deleted, or
        given to another host. See :meth:`StoredBuckets.recompute_different`.

        Arguments:
            generation: the generation of the consumer group for which the table was recovered. After a rebalance,
                nothing is written: the next recovery has its own restore, which may be complete.

        Raises:
            TransientError: if the database or the broker does not work at this moment.
        """
        app, oldest = self._table.app, self._oldest()
        if app.consumer_generation_id != generation:
            return
        # A copy: if a rebalance occurs, the next recovery changes the table meanwhile.
        in_table, assigned = self._table.data.copy(), self._table.assigned()
        restored, rebuilt_at = await asyncio.get_running_loop().run_in_executor(
            self._executor,
            self._stored.recompute_different,
            in_table,
            list(self._ranges(oldest)),
            lambda key: self._table.partition_for_key(key) in assigned,
        )
        # No await between this check and the writes to the table.
        if app.consumer_generation_id != generation:
            return
        # Older buckets were not compared with SQL, so samples must not be added to them.
        self._table.prune(oldest)
        for (hostname, start), bucket in restored.items():
            if bucket.ids:
                self._table[self._table.interned_key(hostname, start)] = bucket.pack()
            else:
                self._table.pop((hostname, start), None)
        self._doubted, self._rebuilt_at = set(), rebuilt_at
        await self._table.flush()
        if restored:
            logger.info(
                "%s: %s restored from stored readings", self._table.name, counted(len(restored), "bucket")
            )

    def _ranges(self, oldest: int) -> Iterator[tuple[int, int]]:
        """Time ranges of whole buckets from ``oldest`` on."""
        buckets = self._retention // self._bucket_size + 1
        length = span(self._bucket_size) * -(-buckets // _RANGES)
        yield from pairwise([*range(oldest, oldest + span(self._bucket_size) * buckets, length), LATEST])

    def _oldest(self) -> int:
        # One bucket more than the retention: a window includes the whole bucket in which it begins. The clock of the
        # worker that was asked may be behind this one.
        return bucket_start(
            from_seconds(self._clock()) - span(self._retention + _SKEW_SECONDS), self._bucket_size
        )


def _samples_before(messages: Iterable[Samples], at: int) -> Iterator[tuple[str, Sample]]:
    for samples in messages:
        for hostname, samples_of_host in samples.items():
            for sample in samples_of_host:
                if sample.observed_at < at:
                    yield hostname, sample
