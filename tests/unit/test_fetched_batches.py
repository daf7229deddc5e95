"""Record batches that Kafka accepts and aiokafka cannot read, or would read without a limit."""

import gzip
import tracemalloc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import cramjam
import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords

from sparkle_app.kafka import fetched_batches
from sparkle_app.kafka.decompression import decompressed
from sparkle_app.kafka.fetched_batches import MAX_POLLED_RECORDS, FetchedBatch, accept_any_batch
from tests.support.record_batches import FIRST_TIMESTAMP, RawRecord, raw_batch

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
COMPRESSIONS = [0, GZIP, SNAPPY, LZ4, ZSTD]


def fetched(raw: bytes) -> FetchedBatch:
    return FetchedBatch(MemoryRecords(raw).next_batch(), memoryview(raw))


def content(batch: Any) -> list[tuple[Any, ...]]:
    return [
        (each.offset, each.timestamp, each.timestamp_type, each.key, each.value, [*map(tuple, each.headers)])
        for each in batch
    ]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_usual_records_are_read_as_aiokafka_reads_them(compression: int) -> None:
    raw = raw_batch(
        [RawRecord(b"v" * number or None, b"name" if number % 3 else None) for number in range(400)],
        compression,
    )
    assert content(fetched(raw)) == content(DefaultRecordBatch(raw))
    assert len(content(fetched(raw))) == 400
    assert fetched(raw).validate_crc()


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("attributes", [0, 1, 0x7F, 0x80, 0xFF])
@pytest.mark.parametrize("header", [None, b"Gr\xf6\xdfe", b"name"])
def test_attributes_and_names_of_headers_may_be_any_bytes(
    compression: int, attributes: int, header: bytes | None
) -> None:
    odd = RawRecord(b"odd" * 99, header, attributes)
    raw = raw_batch([RawRecord(b"a" * 99), odd, RawRecord(None, key=None), odd], compression)
    expected = [] if header is None else [(header.decode("utf-8", "backslashreplace"), b"x")]
    assert [row[3:] for row in content(fetched(raw))] == [
        (b"key", b"a" * 99, []),
        (b"key", b"odd" * 99, expected),
        (None, None, []),
        (b"key", b"odd" * 99, expected),
    ]
    assert [row[:2] for row in content(fetched(raw))] == [(n, FIRST_TIMESTAMP + n) for n in range(4)]


@pytest.mark.parametrize("offset", [-(2**31), -1, 3, 2**31 - 1])
@pytest.mark.parametrize("attributes", [0, 0x80])
def test_an_offset_outside_of_the_batch_is_replaced_by_one_within(offset: int, attributes: int) -> None:
    raw = raw_batch([RawRecord(b"a"), RawRecord(b"b", offset=offset, attributes=attributes), RawRecord(b"c")])
    assert [(row[0], row[4]) for row in content(fetched(raw))] == [(0, b"a"), (1, b"b"), (2, b"c")]


@pytest.mark.parametrize("compression", [GZIP, LZ4, ZSTD])
def test_a_batch_that_is_too_large_when_decompressed_is_read_without_values(
    compression: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 2**21
    monkeypatch.setattr(fetched_batches, "MAX_BATCH_BYTES", limit)
    raw = raw_batch([RawRecord(b"a"), RawRecord(b"\0" * 4 * limit)], compression)
    tracemalloc.start()
    found = content(fetched(raw))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(row[0], row[3], row[4], row[5]) for row in found] == [(0, None, None, []), (1, None, None, [])]
    assert peak < 2.5 * limit
    assert caplog.messages == [
        "a record batch (offsets 0 to 1): expected at most 2 MiB when it is decompressed, found more; its records are"
        " read as records without a value"
    ]


@pytest.mark.parametrize("compression", COMPRESSIONS[1:])
def test_sizes_up_to_the_limit_are_decompressed(compression: int) -> None:
    value = b"\0" * 5_000_000
    raw = raw_batch([RawRecord(value)], compression)[61:]
    found = decompressed(raw, compression, 10 * len(value))
    assert found is not None
    assert value in found
    assert decompressed(raw, compression, len(found)) == found
    assert decompressed(raw, compression, len(found) - 1) is None


def test_what_follows_a_gzip_stream_is_a_stream_or_ignored() -> None:
    first, second = (raw_batch([RawRecord(text * 99)], GZIP)[61:] for text in (b"a", b"b"))
    both = decompressed(first + second, GZIP, 10_000)
    assert both == (decompressed(first, GZIP, 10_000) or b"") + (decompressed(second, GZIP, 10_000) or b"")
    assert decompressed(first + b"\0\0\0", GZIP, 10_000) == decompressed(first, GZIP, 10_000)


def test_snappy_may_be_one_block_or_many_streams_with_anything_behind_them() -> None:
    streams = raw_batch([RawRecord(b"a" * 99)], SNAPPY)[61:]
    found = decompressed(streams, SNAPPY, 10_000)
    assert found is not None
    assert decompressed(streams + streams + b"\0\0\0", SNAPPY, 10_000) == 2 * found
    assert decompressed(bytes(cramjam.snappy.compress_raw(b"b" * 99)), SNAPPY, 99) == b"b" * 99
    # A header may say any length.
    assert decompressed(b"\xff\xff\xff\xff\x0f" + b"\0" * 9, SNAPPY, 10_000) is None
    assert decompressed(streams + b"\0\0\0\x09" + b"\xff\xff\xff\xff\x0f" + b"\0" * 4, SNAPPY, 10_000) is None
    assert decompressed(streams[:-3], SNAPPY, 10_000) is None


def test_very_many_gzip_streams_are_decompressed_without_copying_the_rest_for_each() -> None:
    empty = gzip.compress(b"")
    assert decompressed(50_000 * empty + gzip.compress(b"a"), GZIP, 10_000) == b"a"


@pytest.mark.parametrize("compression", [GZIP, SNAPPY, LZ4, ZSTD])
def test_what_cannot_be_decompressed_is_read_without_values(compression: int) -> None:
    raw = bytearray(raw_batch([RawRecord(b"a" * 500)], compression))
    raw[61:] = b"\0" * len(raw[61:])
    assert [row[4] for row in content(fetched(bytes(raw)))] == [None]


def test_what_is_no_record_is_reported() -> None:
    raw = bytearray(raw_batch([RawRecord(b"a"), RawRecord(b"b")]))
    raw[-3:] = b"\xff\xff\xff"
    with pytest.raises(CorruptRecordException, match="record 1 of a batch"):
        content(fetched(bytes(raw)))


class _Assignment:
    """Of one partition, which is consumed from offset 0."""

    active = True

    def __init__(self) -> None:
        self.state = SimpleNamespace(paused=False, position=0, consumed_to=self._consumed_to)

    def _consumed_to(self, offset: int) -> None:
        self.state.position = offset

    def state_value(self, _: Any) -> Any:
        return self.state


def partition(batches: list[bytes]) -> Any:
    """What a fetch returned of a partition."""
    accept_any_batch()
    at, offset, data = TopicPartition("telemetry", 0), 0, b""
    for raw in batches:
        data += offset.to_bytes(8) + raw[8:]
        offset += DefaultRecordBatch(raw).next_offset
    records = fetcher.PartitionRecords(at, fetcher.MemoryRecords(data), None, 0, None, None, True, 0)
    return fetcher.FetchResult(at, assignment=_Assignment(), partition_records=records, backoff=0)


def polls(batches: list[bytes]) -> Iterator[list[Any]]:
    """The records that each poll returns."""
    result = partition(batches)
    while result.has_more():
        yield result.getall()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_polls_return_all_records_in_order(compression: int) -> None:
    found = list(polls([raw_batch([RawRecord(b"v")] * 999, compression)] * 7))
    assert [record.offset for records in found for record in records] == list(range(7 * 999))
    assert max(map(len, found)) == MAX_POLLED_RECORDS


@pytest.mark.parametrize("compression", [GZIP, ZSTD])
def test_many_batches_below_the_limit_are_decompressed_one_at_a_time(compression: int) -> None:
    number, size = 16, 8 * 2**20
    batches = [raw_batch([RawRecord(bytes(size))], compression)] * number
    tracemalloc.start()
    found = [(record.offset, len(record.value)) for records in polls(batches) for record in records]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [(offset, size) for offset in range(number)]
    # The records of a poll, a batch, and copies of it, however many follow.
    assert peak < number / 2 * size


def test_a_record_with_very_many_headers_is_read_without_its_value() -> None:
    number = 600_000
    odd = raw_batch([RawRecord(b"a"), RawRecord(b"b", headers=number), RawRecord(b"c")], GZIP)
    tracemalloc.start()
    found = content(fetched(odd))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(row[0], row[4], row[5]) for row in found] == [(0, b"a", []), (1, None, []), (2, b"c", [])]
    assert peak < number * 20
