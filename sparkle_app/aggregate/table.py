"""The Faust table of a plugin's buckets: (hostname, bucket's start) -> packed bucket; encrypted in its changelog."""

import asyncio
import ctypes
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, cast

import msgspec
from faust import Table
from faust.transport.drivers.aiokafka import Producer
from faust.types import TP, EventT

from sparkle_app.kafka.membership import Membership
from sparkle_app.kafka.publisher import BROKER_ERRORS
from sparkle_app.kafka.record_batches import records_of
from sparkle_app.kafka.topology import partition_of
from sparkle_app.model.errors import TransientError
from sparkle_app.runtime.process import exit_process
from sparkle_app.sealed.cipher import Cipher, DecryptionError

BucketKey = tuple[str, int]
"""Hostname, and the bucket's start in microseconds since the epoch."""
ChangelogRecords = list[tuple[bytes, bytes | None]]
"""Keys and values of the changelog."""
_key = msgspec.json.Decoder(BucketKey)
# That are applied to the table together.
_BATCHES = 4


class BucketTable(Table):  # type: ignore[type-arg]
    """A table in which a host's partition follows from its name, so that a bucket can be written at any time.

    Arguments:
        cipher: gives what seals the changelog; called when it is first needed.
        partitions: of the changelog and of the samples topic.
    """

    def __init__(self, *args: Any, cipher: Callable[[], Cipher], host_partitions: int, **kwargs: Any) -> None:
        super().__init__(*args, value_type=bytes, recovery_buffer_size=_BATCHES, **kwargs)
        self._cipher = cipher
        self._host_partitions = host_partitions
        self._changed: dict[BucketKey, bytes | None] = {}
        # Lists: a host has some sixty buckets, and a set of them takes eight times as much.
        self._starts: dict[str, list[int]] = defaultdict(list)
        self._times: dict[int, int] = {}

    def partition_for_key(self, key: BucketKey) -> int:
        """Not the partition of the event at hand: buckets of several events are written together."""
        return partition_of(key[0], self._host_partitions)

    def apply_changelog_batch(self, batch: Iterable[EventT[bytes]]) -> None:
        """Called with bundles of the changelog when the table is recovered."""
        store = self.data
        for record in chain.from_iterable(map(records_of, batch)):
            try:
                hostname, start = _key.decode(record.key or b"")
            except msgspec.DecodeError:
                exit_process(
                    f"topic {record.topic}, partition {record.partition}, offset {record.offset}: expected the key of a"
                    " bucket, found something else; delete the topic: it is made anew from SQL"
                )
            key = self.shared(hostname, start)
            if record.value is None:
                store.pop(key, None)
            else:
                store[key] = self._decrypted(record.value)

    def shared(self, hostname: str, start: int) -> BucketKey:
        """The key of a bucket. Names and times stand in many keys: there is one copy of each."""
        return sys.intern(hostname), self._times.setdefault(start, start)

    def _decrypted(self, value: bytes) -> bytes:
        try:
            return self._cipher().decrypt(value, self._associated_data)
        except DecryptionError as error:
            # Faust would log it, and go on with a table that lacks it.
            exit_process(
                f"topic {self.changelog_topic_name}: expected messages of this handler, found one {error}"
            )

    @property
    def _associated_data(self) -> bytes:
        return self.changelog_topic_name.encode()

    async def flush(self) -> None:
        """Write what has changed to the changelog, and wait until the broker has acknowledged it.

        Raises:
            TransientError: when it did not; the keys have to be written again.
        """
        changed, self._changed = self._changed, {}
        by_partition: dict[int, ChangelogRecords] = defaultdict(list)
        for key, value in changed.items():
            # A codec would not seal it: Faust takes bytes for serialized already.
            encrypted = None if value is None else self._cipher().encrypt(value, self._associated_data)
            by_partition[self.partition_for_key(key)].append((msgspec.json.encode(key), encrypted))
        try:
            await asyncio.gather(*(self._send(*item) for item in by_partition.items()))
        except BROKER_ERRORS as error:
            raise TransientError(f"broker: {error!r}") from error

    async def _send(self, partition: int, records: ChangelogRecords) -> None:
        """Write records as whole batches: as single messages they would cost ten times as much."""
        producer = cast(Producer, self.app.producer)._ensure_producer()
        topic = self.changelog_topic_name
        batch, sent = producer.create_batch(), []
        for key, value in records:
            # None says that it is full. An empty one takes a record of any size.
            if batch.append(key=key, value=value, timestamp=None) is None:
                sent.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
        sent.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*sent)

    def on_key_set(self, key: BucketKey, value: bytes) -> None:
        """Remember what :meth:`flush` has to write, and keep the index of hosts."""
        self._changed[key] = value
        starts = self._starts[key[0]]
        if key[1] not in starts:
            starts.append(key[1])

    def on_key_del(self, key: BucketKey) -> None:
        """As :meth:`on_key_set`."""
        self._changed[key] = None
        self._forget(key)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Drop what belongs to other workers now (Faust's memory store keeps it), and index the rest."""
        store = self.data
        mine = self.assigned()
        for key in [key for key in store if partition_of(key[0], self._host_partitions) not in mine]:
            store.pop(key)
        self._starts.clear()
        for hostname, start in store:
            self._starts[hostname].append(start)
        await self.call_recover_callbacks()
        _return_memory()

    def assigned(self) -> set[int]:
        """The partitions that are this worker's, complete or not."""
        topic = self.changelog_topic_name
        return {tp.partition for tp in self.app.assignor.assigned_actives() if tp.topic == topic}

    def owned(self) -> set[int]:
        """The partitions whose buckets this worker has, complete; none while it takes partitions over."""
        group = Membership(self.app)
        # Without the broker nobody knows whose they are.
        return self.assigned() if group.complete and group.in_session else set()

    def hostnames(self) -> list[str]:
        """The hosts of all partitions that this worker has."""
        return list(self._starts)

    def has(self, hostname: str) -> bool:
        """Whether this worker has any bucket of a host."""
        return hostname in self._starts

    def packed_buckets(self, hostname: str, start: int, end: int) -> Iterator[bytes]:
        """A host's packed buckets that begin in ``start <= bucket < end``."""
        store = self.data
        for at in self._starts.get(hostname, ()):
            if start <= at < end:
                yield store[hostname, at]

    def prune(self, before: int) -> None:
        """Forget the buckets that begin before an instant; SQL keeps their aggregates."""
        for hostname, starts in list(self._starts.items()):
            for start in [start for start in starts if start < before]:
                self.pop((hostname, start))
        self._times = {start: start for start in self._times if start >= before}

    def _forget(self, key: BucketKey) -> None:
        starts = self._starts[key[0]]
        if key[1] in starts:
            starts.remove(key[1])
        if not starts:
            del self._starts[key[0]]


def _return_memory() -> None:
    """What recovery needed and freed lies scattered: glibc keeps it unless it is told not to (malloc_trim(3))."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
