"""Record batches that Kafka accepts, and that aiokafka would never get past, or that would fill the memory.

* The name of a header is not UTF-8, or a record has attributes: aiokafka raises an exception.
* A record has an offset outside of its batch: all offsets up to it would count as consumed.
* A compressed batch is thousands of times as large when it is decompressed.
"""

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBase, DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint

from sparkle_app.kafka.decompression import decompressed
from sparkle_app.kafka.record_sizes import weight
from sparkle_app.runtime.cause_limit import CauseLimit

logger = logging.getLogger(__name__)
# Lines about batches that are too large, per minute.
_lines = CauseLimit(10)
MAX_BATCH_BYTES = 32 * 1024 * 1024
"""Of a record batch, decompressed. A larger one is read as records without a value, which become dead letters."""
MAX_POLLED_RECORDS = 2500
"""Records of a partition that one poll returns, unless the caller says how many. Large ones count as several."""
# In a batch that is larger than this, records may have very many headers, of which aiokafka would make objects.
_SMALL_BYTES = 1024 * 1024
_MAX_HEADERS = 1000
"""Of a record in such a batch. One that has more is read as a record without a value."""
# Of each record batch: its offset, then its length without these two.
_LENGTH = slice(8, 12)
_OVERHEAD = 12
_HEADER = DefaultRecordBase.HEADER_STRUCT
_ATTRIBUTES, _NUMBER = 5, 12
"""Of the fields of a header: the attributes, and the number of records."""
_MAGIC = 2


class RecordInBatch(NamedTuple):
    """A record, as the fetcher expects it. The timestamp is in milliseconds since the epoch."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None


def accept_any_batch() -> None:
    """Make all consumers of this process read any batch. In the name of a header, a byte that is not UTF-8 is \\xNN."""
    fetcher.MemoryRecords = _Batches
    fetcher.FetchResult = LimitedResult


class LimitedResult(fetcher.FetchResult):  # type: ignore[misc]
    """What was fetched of a partition. It stays compressed, batch by batch, until it is polled."""

    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[Any]:
        """The next records, at most ``max_records``."""
        records: list[Any] = []
        if not self.has_more() or not self.check_assignment(self._topic_partition):
            return records
        limit = max_records or MAX_POLLED_RECORDS
        for record in self._partition_records:
            records.append(record)
            limit -= weight(record)
            if limit <= 0:
                self._update_position()
                return records
        self._update_position()
        self._partition_records = None
        return records


class _Batches:
    """The record batches of a response, as the fetcher expects them.

    Arguments:
        data: Kafka's message format (https://kafka.apache.org/documentation/#recordbatch).
    """

    def __init__(self, data: bytes) -> None:
        self._records = MemoryRecords(data)
        self._data = memoryview(data)

    def size_in_bytes(self) -> int:
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        return bool(self._records.has_next())

    def next_batch(self) -> Any:
        length = _OVERHEAD + int.from_bytes(self._data[_LENGTH])
        batch, self._data = self._data[:length], self._data[length:]
        return FetchedBatch(self._records.next_batch(), batch)


class FetchedBatch:
    """A record batch of aiokafka.

    Arguments:
        data: the same batch, in Kafka's message format.
    """

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        # The fetcher reads a batch of control records in this way.
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        batch = self._batch
        if batch.magic < _MAGIC:
            yield from batch
            return
        first, end = batch.base_offset, batch.next_offset
        for number, record in enumerate(self._records()):
            if first <= record.offset < end:
                yield record
            else:
                yield RecordInBatch(
                    min(first + number, end - 1),
                    record.timestamp,
                    record.timestamp_type,
                    record.key,
                    record.value,
                    record.headers,
                )

    def _records(self) -> Iterator[Any]:
        batch, data = self._batch, bytes(self._data[_HEADER.size :])
        if batch.compression_type:
            found = decompressed(data, batch.compression_type, MAX_BATCH_BYTES)
            if found is None:
                if _lines.allows("too large"):
                    logger.warning(
                        "a record batch (offsets %d to %d): expected at most %d MiB when it is decompressed, found"
                        " more; its records are read as records without a value",
                        batch.base_offset,
                        batch.next_offset - 1,
                        MAX_BATCH_BYTES // 2**20,
                    )
                yield from self._without_values()
                return
            data = found
        if len(data) > _SMALL_BYTES:
            yield from self._parsed(data, 0)
            return
        number = 0
        try:
            for record in self._uncompressed(data) if batch.compression_type else batch:
                number += 1
                yield record
        except (UnicodeDecodeError, CorruptRecordException):
            yield from self._parsed(data, number)

    def _uncompressed(self, records: bytes) -> Any:
        """The same batch, not compressed. Its checksum is not valid."""
        fields = list(_HEADER.unpack_from(self._data))
        fields[_ATTRIBUTES] &= ~DefaultRecordBase.CODEC_MASK
        return DefaultRecordBatch(_HEADER.pack(*fields) + records)

    def _without_values(self) -> Iterator[RecordInBatch]:
        batch = self._batch
        for number in range(_HEADER.unpack_from(self._data)[_NUMBER]):
            timestamp = batch.max_timestamp if batch.timestamp_type else batch.first_timestamp
            yield RecordInBatch(batch.base_offset + number, timestamp, batch.timestamp_type, None, None, [])

    def _parsed(self, records: bytes, skipped: int) -> Iterator[RecordInBatch]:
        """The records after the first ``skipped`` ones, read as Kafka reads them.

        See https://kafka.apache.org/documentation/#record.

        Raises:
            CorruptRecordException: if they are no records.
        """
        position = 0
        for number in range(_HEADER.unpack_from(self._data)[_NUMBER]):
            try:
                length, position = decode_varint(records, position)
                record, end = self._record(records, position, position + length)
            except (IndexError, ValueError) as error:
                raise CorruptRecordException(f"expected record {number} of a batch, found {error}") from error
            position += length
            if end != position:
                raise CorruptRecordException(
                    f"record {number} of a batch: expected {length} bytes, found others"
                )
            if number >= skipped:
                yield record

    def _record(self, records: bytes, position: int, end: int) -> tuple[RecordInBatch, int]:
        """The record at a position, without its length, and where it ends: at ``end`` if its length is right."""
        batch = self._batch
        # After its attributes, a byte.
        age, position = decode_varint(records, position + 1)
        delta, position = decode_varint(records, position)
        key, position = _bytes(records, position)
        value, position = _bytes(records, position)
        number, position = decode_varint(records, position)
        headers: list[tuple[str, bytes | None]] = []
        if number > _MAX_HEADERS and len(records) > _SMALL_BYTES:
            value, number, position = None, 0, end
        for _ in range(number):
            name, position = _bytes(records, position)
            content, position = _bytes(records, position)
            headers.append(((name or b"").decode("utf-8", "backslashreplace"), content))
        timestamp = batch.max_timestamp if batch.timestamp_type else batch.first_timestamp + age
        offset = batch.base_offset + delta
        return RecordInBatch(offset, timestamp, batch.timestamp_type, key, value, headers), position


def _bytes(records: bytes, position: int) -> tuple[bytes | None, int]:
    """What follows its length, which is negative for null; and where it ends."""
    length, position = decode_varint(records, position)
    if length < 0:
        return None, position
    return records[position : position + length], position + length
