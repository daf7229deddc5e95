"""The Faust table of a plugin's buckets, by hostname and start of the bucket. Its changelog topic is encrypted."""

import asyncio
import ctypes
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, takewhile
from typing import Any, cast

import msgspec
from aiokafka.errors import InvalidTimestampError
from faust import Table
from faust.transport.drivers.aiokafka import Producer
from faust.types import TP, EventT

from sparkle_app.kafka.membership import Membership
from sparkle_app.kafka.publisher import BROKER_ERRORS, acknowledged, without_timestamp
from sparkle_app.kafka.record_batches import records_of
from sparkle_app.kafka.topology import MAX_MESSAGE_BYTES, partition_of
from sparkle_app.model.errors import TransientError
from sparkle_app.runtime.process import exit_process
from sparkle_app.sealed.cipher import Cipher, DecryptionError

BucketKey = tuple[str, int]
"""Hostname, and start of the bucket in microseconds since the epoch."""
ChangelogRecords = list[tuple[bytes, bytes | None]]
"""Keys and values of records of the changelog topic."""
_key = msgspec.json.Decoder(BucketKey)
# Number of record batches that recovery applies to the table at once.
_RECOVERY_BATCHES = 4
# Of the key, and of a record batch.
_OVERHEAD_BYTES = 2048


class BucketTable(Table):  # type: ignore[type-arg]
    """A table that derives the partition from the hostname, so that buckets of several events can be written at once.

    Arguments:
        cipher: returns the cipher of the changelog topic. Called on first use.
        host_partitions: number of partitions of the changelog topic and of the samples topic.
    """

    def __init__(self, *args: Any, cipher: Callable[[], Cipher], host_partitions: int, **kwargs: Any) -> None:
        super().__init__(*args, value_type=bytes, recovery_buffer_size=_RECOVERY_BATCHES, **kwargs)
        self._cipher = cipher
        self._host_partitions = host_partitions
        self._changed: dict[BucketKey, bytes | None] = {}
        # Lists, not sets: a host has about 60 buckets, and a set of them takes eight times the memory.
        self._starts: dict[str, list[int]] = defaultdict(list)
        self._times: dict[int, int] = {}
        # The number of each host's last change, in the order of these numbers.
        self._changes: dict[str, int] = {}
        self.changes = 0
        """Number of changes of buckets so far."""
        self.pruned_before = 0
        """Buckets that start before this time are not in the table; microseconds since the epoch."""
        self.max_message_bytes = MAX_MESSAGE_BYTES
        """The changelog topic's ``max.message.bytes``."""

    def partition_for_key(self, key: BucketKey) -> int:
        """The partition of the host. Faust would use that of the current event."""
        return partition_of(key[0], self._host_partitions)

    def apply_changelog_batch(self, batch: Iterable[EventT[bytes]]) -> None:
        """Called by Faust with record batches of the changelog topic during recovery."""
        store = self.data
        for record in chain.from_iterable(map(records_of, batch)):
            try:
                hostname, start = _key.decode(record.key or b"")
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                exit_process(
                    f"topic {record.topic}, partition {record.partition}, offset {record.offset}: expected the key of a"
                    " bucket, found another key; delete the topic: its content is restored from SQL"
                )
            key = self.interned_key(hostname, start)
            if record.value is None:
                store.pop(key, None)
            else:
                store[key] = self._decrypt(record.value)

    def interned_key(self, hostname: str, start: int) -> BucketKey:
        """The key of a bucket. All keys share one copy of each hostname and each start, to save memory."""
        return sys.intern(hostname), self._times.setdefault(start, start)

    def _decrypt(self, value: bytes) -> bytes:
        try:
            return self._cipher().decrypt(value, self._associated_data)
        except DecryptionError as error:
            # Faust would log the exception, and continue without this bucket.
            exit_process(
                f"topic {self.changelog_topic_name}: expected sealed messages, found one that cannot be decrypted:"
                f" {error}"
            )

    @property
    def _associated_data(self) -> bytes:
        return self.changelog_topic_name.encode()

    async def flush(self) -> None:
        """Produce pending changes to the changelog topic, and wait for the broker's acknowledgement.

        Raises:
            TransientError: if the broker did not acknowledge all of them. The next flush produces them again, unless a
                rebalance has occurred.
        """
        generation = self.app.consumer_generation_id
        changed, self._changed = self._changed, {}
        by_partition: dict[int, ChangelogRecords] = defaultdict(list)
        for key, value in changed.items():
            # Not by a codec: Faust does not pass bytes to codecs, because it considers them serialized.
            encrypted = None if value is None else self._cipher().encrypt(value, self._associated_data)
            if encrypted and len(encrypted) > self.max_message_bytes - _OVERHEAD_BYTES:
                # Left out: after a recovery, the bucket is restored from stored readings.
                continue
            by_partition[self.partition_for_key(key)].append((msgspec.json.encode(key), encrypted))
        try:
            try:
                await asyncio.gather(*(self._send(*item) for item in by_partition.items()))
            except InvalidTimestampError:
                none = without_timestamp(self.changelog_topic_name)
                await asyncio.gather(*(self._send(*item, none) for item in by_partition.items()))
        except BROKER_ERRORS as error:
            if self.app.consumer_generation_id == generation:
                # Whoever retries does not delete again what was pruned. Values that were set meanwhile are newer.
                self._changed = changed | self._changed
            raise TransientError(f"broker: {error!r}") from error

    async def _send(self, partition: int, records: ChangelogRecords, timestamp: int | None = None) -> None:
        """Produce records in batches: single messages would cost ten times as much."""
        producer = cast(Producer, self.app.producer)._ensure_producer()
        topic = self.changelog_topic_name
        batch, sent = producer.create_batch(), []
        for key, value in records:
            # append() returns None if the batch is full. An empty batch accepts a record of any size.
            if batch.append(key=key, value=value, timestamp=timestamp) is None:
                sent.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=timestamp)
        sent.append(await producer.send_batch(batch, topic, partition=partition))
        await acknowledged(sent)

    def on_key_set(self, key: BucketKey, value: bytes) -> None:
        """Note the change for :meth:`flush`, and update the index of hosts."""
        self._changed[key] = value
        self._note_change(key[0])
        starts = self._starts[key[0]]
        if key[1] not in starts:
            starts.append(key[1])

    def on_key_del(self, key: BucketKey) -> None:
        """As :meth:`on_key_set`."""
        self._changed[key] = None
        self._note_change(key[0])
        self._remove_from_index(key)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Remove buckets of other workers' partitions, which Faust's memory store keeps, and rebuild the index."""
        # Changes of an earlier generation, which the broker has not acknowledged: the recovery did not see them.
        self._changed.clear()
        store = self.data
        assigned = self.assigned()
        for key in [key for key in store if partition_of(key[0], self._host_partitions) not in assigned]:
            store.pop(key)
        self._starts.clear()
        self._changes.clear()
        for hostname, start in store:
            self._starts[hostname].append(start)
        await self.call_recover_callbacks()
        _return_memory()

    def assigned(self) -> set[int]:
        """The partitions assigned to this worker, recovered or not."""
        topic = self.changelog_topic_name
        return {tp.partition for tp in self.app.assignor.assigned_actives() if tp.topic == topic}

    def owned(self) -> set[int]:
        """The partitions for which this worker has all buckets; none during a rebalance or recovery."""
        group = Membership(self.app)
        # Outside the session, the partitions may have been assigned to another worker.
        return self.assigned() if group.complete and group.in_session else set()

    def hostnames(self) -> list[str]:
        """All hosts of which this worker has buckets."""
        return list(self._starts)

    def has(self, hostname: str) -> bool:
        """Whether this worker has buckets of a host."""
        return hostname in self._starts

    def starts(self, hostname: str) -> Sequence[int]:
        """The starts of a host's buckets, in any order."""
        return self._starts.get(hostname, ())

    def changed_since(self, number: int) -> list[str]:
        """The hosts that have changed since :attr:`changes` was ``number``, if the table was not recovered meanwhile.

        Those that have no buckets any more are left out.
        """
        return list(takewhile(lambda name: self._changes[name] > number, reversed(self._changes)))

    def packed_buckets(self, hostname: str, start: int, end: int) -> Iterator[bytes]:
        """Packed buckets of a host with ``start <= start of the bucket < end``."""
        store = self.data
        for at in self._starts.get(hostname, ()):
            if start <= at < end:
                yield store[hostname, at]

    def prune(self, before: int) -> None:
        """Delete buckets that start before ``before``. Their aggregates remain in SQL."""
        for hostname, starts in list(self._starts.items()):
            for start in [start for start in starts if start < before]:
                self.pop((hostname, start))
        self._times = {start: start for start in self._times if start >= before}
        self.pruned_before = before

    def _remove_from_index(self, key: BucketKey) -> None:
        starts = self._starts[key[0]]
        if key[1] in starts:
            starts.remove(key[1])
        if not starts:
            del self._starts[key[0]]
            del self._changes[key[0]]

    def _note_change(self, hostname: str) -> None:
        self.changes += 1
        self._changes.pop(hostname, None)
        self._changes[hostname] = self.changes


def _return_memory() -> None:
    """Return memory that recovery has freed: it is fragmented, and glibc keeps it unless malloc_trim(3) is called."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
