"""The buckets of a plugin in SQL: recomputes them from stored readings, and upserts them. Called in threads."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Engine

from sparkle_app.aggregate.table import BucketKey
from sparkle_app.model.buckets import Bucket, count_of, rows_of
from sparkle_app.model.retention import READINGS
from sparkle_app.model.sample import Sample
from sparkle_app.model.time import span
from sparkle_app.plugin.failures import plugin_error
from sparkle_app.plugin.merging import store_buckets
from sparkle_app.plugin_api import Plugin
from sparkle_app.plugin_api.numeric import stored_number
from sparkle_app.storage.engine import read_transaction, short_read_transactions
from sparkle_app.storage.retention import watermarks
from sparkle_app.storage.statements import chunks

# Of a statement: with many, the transaction would last long.
_MAX_HOSTS = 500
# By so much, at most, the clock of whoever rebuilds differs from those of workers and hosts.
_CLOCKS_SECONDS = 3600
Changed = dict[BucketKey, Bucket]


class StoredBuckets:
    """The buckets of one plugin in SQL.

    Arguments:
        name: NAME of the plugin.
        plugin: its server half.
        engine: the database.
        bucket_size: bucket size in seconds.
    """

    def __init__(self, name: str, plugin: Plugin, engine: Engine, bucket_size: int) -> None:
        self._name = name
        self._plugin = plugin
        self._engine = engine
        self._bucket_size = bucket_size

    def recompute(self, keys: Sequence[BucketKey]) -> Mapping[BucketKey, Bucket]:
        """Compute buckets from stored readings; without any, a bucket is empty.

        Raises:
            TransientError: if the database does not work at this moment, or the plugin raises an exception.
        """
        buckets = {key: Bucket() for key in keys}
        by_start: dict[int, list[str]] = {}
        for hostname, start in keys:
            by_start.setdefault(start, []).append(hostname)
        with self._transient_errors(), short_read_transactions(self._engine) as connection:
            for start, hostnames in by_start.items():
                end = start + span(self._bucket_size)
                for some in chunks(hostnames, _MAX_HOSTS):
                    for row in self._plugin.load_readings(connection(), some, start, end):
                        if (value := stored_number(self._plugin, row)) is not None:
                            buckets[row.hostname, start].add(Sample.of(row, value))
        return buckets

    def recount(self, keys: list[BucketKey]) -> tuple[Changed, int]:
        """Recompute buckets that are outdated.

        Returns:
            Those with readings, and :attr:`Watermarks.rebuilt_at` before they were read.

        Raises:
            TransientError: if the database does not work at this moment, or the plugin raises an exception.
        """
        with self._transient_errors(), read_transaction(self._engine) as connection:
            rebuilt_at = watermarks(connection, self._name, self._bucket_size).rebuilt_at
        return {key: bucket for key, bucket in self.recompute(keys).items() if bucket.ids}, rebuilt_at

    def recompute_different(
        self,
        table: Mapping[BucketKey, bytes],
        ranges: Sequence[tuple[int, int]],
        is_assigned: Callable[[BucketKey], bool],
    ) -> tuple[Mapping[BucketKey, Bucket], int]:
        """Recompute the buckets for which SQL and a table have not counted equally many readings.

        A bucket only gains readings, in the same order in all workers: equally many are the same ones. This is not so
        if others than workers have changed aggregates, or hosts, in the time of the table: then all are recomputed.

        Arguments:
            table: the packed buckets.
            ranges: time ranges of whole buckets, in order.
            is_assigned: whether a bucket of SQL belongs into the table.

        Returns:
            Those that are different, and :attr:`Watermarks.rebuilt_at` before they were read.

        Raises:
            TransientError: if the database does not work at this moment, or the plugin raises an exception.
        """
        in_table = Counter(start for _, start in table)
        keys: list[BucketKey] = []
        with self._transient_errors(), short_read_transactions(self._engine) as connection:
            # Before the aggregates: those that are changed later are noticed.
            rebuilt_at = watermarks(connection(), self._name, self._bucket_size).rebuilt_at
            all_doubted = rebuilt_at >= ranges[0][0] - span(_CLOCKS_SECONDS)
            for start, end in ranges:
                counts = self._plugin.count_aggregates(connection(), self._bucket_size, start, end)
                in_both: set[BucketKey] = set()
                for hostname, at, count in counts:
                    key = hostname, at
                    if key in table:
                        in_both.add(key)
                    if is_assigned(key) and (
                        all_doubted or key not in table or count_of(table[key]) != count
                    ):
                        keys.append(key)
                if len(in_both) < sum(number for at, number in in_table.items() if start <= at < end):
                    keys += [key for key in table if start <= key[1] < end and key not in in_both]
        different: Changed = {}
        for some in chunks(keys):
            for key, bucket in self.recompute(some).items():
                if not bucket.ids or key not in table or Bucket.unpack(table[key]) != bucket:
                    different[key] = bucket
        return different, rebuilt_at

    def upsert(self, changed: Changed, counted_after: int | None) -> tuple[int, int] | None:
        """Upsert buckets, through the plugin, and the hours and days that contain them.

        Arguments:
            counted_after: :attr:`Watermarks.rebuilt_at` when they were counted.

        Returns:
            The number of rows that have expired, and since when readings are kept; None if the buckets are outdated.

        Raises:
            TransientError: if the database does not work at this moment, or the plugin raises an exception.
        """
        rows = [
            row
            # In sorted order, so that two workers cannot deadlock.
            for hostname, start in sorted(changed)
            for row in rows_of(hostname, start, self._bucket_size, changed[hostname, start])
        ]
        with self._transient_errors(), self._engine.begin() as connection:
            marks = watermarks(connection, self._name, self._bucket_size, lock=True)
            if marks.rebuilt_at != counted_after:
                return None
            dropped = store_buckets(self._plugin, connection, marks, rows)
            return dropped, marks[READINGS].kept_since

    @contextmanager
    def _transient_errors(self) -> Iterator[None]:
        """Raises TransientError if the database does not work at this moment, or the plugin raises an exception."""
        try:
            yield
        except MemoryError:
            # Not caused by the plugin.
            raise
        # A plugin may raise any exception, and even call sys.exit().
        except (Exception, SystemExit) as error:
            raise plugin_error(error, self._name) from error
