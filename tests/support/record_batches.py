"""Record batches as clients make them that do not use Kafka's libraries."""

import asyncio
import time
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import DefaultRecordBase, _DefaultRecordBatchBuilderPy
from aiokafka.record.util import encode_varint

_LIMIT = 1 << 30
FIRST_TIMESTAMP = 1_790_000_000_000
"""Of :func:`raw_batch`. Each further record is a millisecond younger."""


class RawRecord(NamedTuple):
    """What a record contains (https://kafka.apache.org/documentation/#record)."""

    value: bytes | None
    header: bytes | None = None
    """The name of a header."""
    attributes: int = 0
    offset: int | None = None
    """Less that of the batch; None: its position in the batch."""
    key: bytes | None = b"key"
    """A compacted topic requires one."""
    headers: int = 0
    """How many further headers, without names and contents, there are."""


def raw_batch(records: list[RawRecord], compression: int = 0) -> bytes:
    """A batch of records.

    Arguments:
        compression: as in the attributes of a batch: 0: none, 1: gzip, 2: snappy, 3: lz4, 4: zstd.
    """
    return bytes(_builder(records, compression, FIRST_TIMESTAMP).build())


def produce_batch(bootstrap: str, topic: str, records: list[RawRecord], compression: int = 0) -> None:
    """Produce records to partition 0, in one batch."""

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=_LIMIT)
        await producer.start()
        try:
            batch = producer.create_batch()
            batch._builder = _builder(records, compression, int(1000 * time.time()))
            batch._relative_offset = len(records)
            await (await producer.send_batch(batch, topic, partition=0))
        finally:
            await producer.stop()

    asyncio.run(send())


def _builder(records: list[RawRecord], compression: int, first: int) -> _DefaultRecordBatchBuilderPy:
    builder = _DefaultRecordBatchBuilderPy(2, compression, 0, -1, -1, -1, _LIMIT)
    builder._first_timestamp = builder._max_timestamp = first
    builder._num_records, builder._last_offset = len(records), len(records) - 1
    builder._buffer = bytearray(DefaultRecordBase.HEADER_STRUCT.size)
    for number, record in enumerate(records):
        encoded = _encoded(record, number)
        encode_varint(len(encoded), builder._buffer.append)
        builder._buffer += encoded
    return builder


def _encoded(record: RawRecord, number: int) -> bytearray:
    encoded = bytearray([record.attributes])
    encode_varint(number, encoded.append)
    encode_varint(number if record.offset is None else record.offset, encoded.append)
    for content in (record.key, record.value):
        _write(encoded, content)
    encode_varint((0 if record.header is None else 1) + record.headers, encoded.append)
    encoded += b"\0\0" * record.headers
    if record.header is not None:
        _write(encoded, record.header)
        _write(encoded, b"x")
    return encoded


def _write(encoded: bytearray, content: bytes | None) -> None:
    encode_varint(-1 if content is None else len(content), encoded.append)
    encoded += content or b""
