"""Decompresses record batches up to a size: zeros take a thousandth of theirs, or less."""

import zlib

from aiokafka import codec
from aiokafka.record.default_records import DefaultRecordBase

# The size for which there is room, as a multiple of the compressed size: at first, and by how much it grows.
_RATIO, _GROWTH = 16, 8
_GZIP = 31
"""As an argument of zlib."""
_GZIP_BEGINS = b"\x1f\x8b"
_PART_BYTES = 8192
_BLOCKS_BEGIN = b"\x82SNAPPY\x00"
_BLOCKS_HEADER = 16
"""Bytes: the above, and two versions."""


def decompressed(data: bytes, compression: int, limit: int) -> bytes | None:
    """Decompressed records; None if they have more than ``limit`` bytes, or cannot be decompressed.

    Arguments:
        compression: as in the attributes of a record batch (https://kafka.apache.org/documentation/#recordbatch).

    Raises:
        UnsupportedCodecError: if the package cramjam is missing.
    """
    base = DefaultRecordBase()
    base._assert_has_codec(compression)
    if compression == base.CODEC_GZIP:
        return _gunzip(data, limit)
    if compression == base.CODEC_SNAPPY:
        return _unsnap(data, limit)
    cramjam = codec.cramjam
    library = cramjam.lz4 if compression == base.CODEC_LZ4 else cramjam.zstd
    size = _RATIO * len(data)
    while True:
        buffer = bytearray(min(size, limit))
        try:
            return bytes(memoryview(buffer)[: library.decompress_into(data, buffer)])
        except cramjam.DecompressionError:
            # The buffer may have been too small.
            if size >= limit:
                return None
            size *= _GROWTH


def _gunzip(data: bytes, limit: int) -> bytes | None:
    found, position = bytearray(), 0
    # There may be several streams. What follows the last one is ignored, as by Kafka.
    while not position or data[position : position + 2] == _GZIP_BEGINS:
        stream = zlib.decompressobj(_GZIP)
        while not stream.eof:
            # In parts: what a stream leaves over is copied, and there may be very many streams.
            part = data[position : position + _PART_BYTES]
            try:
                found += stream.decompress(part, limit + 1 - len(found))
            except zlib.error:
                return None
            position += len(part) - len(stream.unconsumed_tail) - len(stream.unused_data)
            if len(found) > limit or not part:
                return None
    return bytes(found)


def _unsnap(data: bytes, limit: int) -> bytes | None:
    """Snappy, or blocks of it that begin with their length, as Kafka's clients write them."""
    raw = codec.cramjam.snappy
    found, position = b"", 0
    try:
        if not data.startswith(_BLOCKS_BEGIN):
            return bytes(raw.decompress_raw(data)) if raw.decompress_raw_len(data) <= limit else None
        # What is shorter than a length is ignored, as by Kafka.
        while position + 4 <= len(data):
            if data.startswith(_BLOCKS_BEGIN, position):
                position += _BLOCKS_HEADER
                continue
            length = int.from_bytes(data[position : position + 4])
            block = data[position + 4 : position + 4 + length]
            position += 4 + length
            if position > len(data) or len(found) + raw.decompress_raw_len(block) > limit:
                return None
            found += raw.decompress_raw(block)
    except codec.cramjam.DecompressionError:
        return None
    return found
