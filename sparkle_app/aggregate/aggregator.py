"""Counting samples: which buckets change, and what they hold then.

The rule that keeps aggregates exact: a bucket that the table holds knows the ids of the readings that it counted, so a
repeat of any kind is recognised; a bucket that the table does not hold (new, pruned, or lost with the table) is
aggregated anew from the raw rows, which were committed before their samples were sent.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from sparkle_app.aggregate.table import BucketKey, BucketTable
from sparkle_app.model.buckets import AggregateRow, Bucket, bucket_start, count_of, rows_of
from sparkle_app.model.sample import Sample, Samples
from sparkle_app.model.time import LATEST, from_seconds, span
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.errors import transient_error

logger = logging.getLogger(__name__)
Changed = dict[BucketKey, Bucket]


class Aggregator:
    """One plugin's aggregates: the table for the time within the retention, SQL for all of it.

    Arguments:
        plugin: the plugin's server half.
        table: the plugin's buckets.
        engine: the database.
        executor: the threads that talk to the database.
        bucket_size: length of a bucket, seconds.
        retention: how far back the table reaches, seconds.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        plugin: Plugin,
        table: BucketTable,
        engine: Engine,
        executor: Executor,
        bucket_size: int,
        retention: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._plugin = plugin
        self._table = table
        self._engine = engine
        self._executor = executor
        self._bucket_size = bucket_size
        self._retention = retention
        self._clock = clock
        self._pruned_at = 0

    async def count(self, many: Iterable[Samples]) -> tuple[Changed, int]:
        """The buckets that these samples belong to, with them counted; nothing is written yet.

        Returns:
            The buckets, and how many of them were aggregated anew from raw rows.

        Raises:
            TransientError: when raw rows are needed and the database does not work right now.
        """
        by_bucket: dict[BucketKey, list[Sample]] = {}
        for samples in many:
            for hostname, of_host in samples.items():
                for sample in of_host:
                    key = (hostname, bucket_start(sample.observed_at, self._bucket_size))
                    by_bucket.setdefault(key, []).append(sample)
        store = self._table.data
        held = {key: Bucket.unpack(store[key]) for key in by_bucket if key in store}
        missing = [key for key in by_bucket if key not in held]
        loop = asyncio.get_running_loop()
        loaded = await loop.run_in_executor(self._executor, self._load, missing) if missing else {}
        touched: Changed = {**loaded, **held}
        for key, samples_of_key in by_bucket.items():
            for sample in samples_of_key:
                touched[key].add(sample)
        # Also those that knew all samples: a crash may have come between their table and SQL.
        return touched, len(missing)

    def update_table(self, changed: Changed) -> None:
        """Write the buckets within the retention to the table; forget those beyond it."""
        oldest = self._oldest()
        for (hostname, start), bucket in changed.items():
            if start >= oldest:
                self._table[self._table.shared(hostname, start)] = bucket.pack()
        if oldest > self._pruned_at:
            self._table.prune(oldest)
            self._pruned_at = oldest

    async def store(self, changed: Changed) -> None:
        """Upsert the buckets into SQL through the plugin's handler.

        Raises:
            TransientError: when the database does not work right now.
        """
        rows = [
            row
            # Sorted, so that two workers never wait for each other in a circle.
            for hostname, start in sorted(changed)
            for row in rows_of(hostname, start, self._bucket_size, changed[hostname, start])
        ]
        if rows:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._upsert, rows)

    async def restore(self) -> None:
        """Bring the table up to what SQL holds: what its changelog lacks is aggregated anew from raw rows.

        A changelog may be lost, or end in the stale write of a worker that was suspended. SQL is never behind it by
        more than what was not acknowledged, and that comes again.

        Raises:
            TransientError: when the database does not work right now.
        """
        generation = self._table.app.consumer_generation_id
        restored = await asyncio.get_running_loop().run_in_executor(self._executor, self._missing_from_table)
        if self._table.app.consumer_generation_id != generation:
            # Partitions moved while the database was asked: another restore is under way, or done.
            return
        for (hostname, start), bucket in restored.items():
            self._table[self._table.shared(hostname, start)] = bucket.pack()
        await self._table.flush()
        if restored:
            logger.info("%s: %d buckets restored from SQL", self._table.name, len(restored))

    def _missing_from_table(self) -> Mapping[BucketKey, Bucket]:
        store, mine = self._table.data, self._table.assigned()
        oldest = self._oldest()
        try:
            with read_transaction(self._engine) as connection:
                counts = self._plugin.count_aggregates(connection, self._bucket_size, oldest, LATEST)
                keys = [
                    (hostname, start)
                    for hostname, start, count in counts
                    if self._table.partition_for_key((hostname, start)) in mine
                    and ((hostname, start) not in store or count_of(store[hostname, start]) < count)
                ]
        except (SQLAlchemyError, OSError) as error:
            raise transient_error(error) from error
        return self._load(keys) if keys else {}

    def _oldest(self) -> int:
        # One bucket more than the retention: a window that begins within a bucket takes it whole.
        return bucket_start(from_seconds(self._clock()) - span(self._retention), self._bucket_size)

    def _upsert(self, rows: list[AggregateRow]) -> None:
        try:
            with self._engine.begin() as connection:
                self._plugin.store_aggregates(connection, rows)
        except (SQLAlchemyError, OSError) as error:
            raise transient_error(error) from error

    def _load(self, keys: list[BucketKey]) -> Mapping[BucketKey, Bucket]:
        buckets = {key: Bucket() for key in keys}
        by_start: dict[int, list[str]] = {}
        for hostname, start in keys:
            by_start.setdefault(start, []).append(hostname)
        try:
            with read_transaction(self._engine) as connection:
                for start, hostnames in by_start.items():
                    end = start + span(self._bucket_size)
                    for row in self._plugin.load_readings(connection, hostnames, start, end):
                        value = self._plugin.numeric_value(row)
                        if value is not None:
                            buckets[row.hostname, start].add(Sample.of(row, value))
        except (SQLAlchemyError, OSError) as error:
            raise transient_error(error) from error
        return buckets
