"""Decompresses record batches up to a size: zeros take a thousandth of theirs, or less."""

import zlib

from aiokafka import codec
from aiokafka.record.default_records import DefaultRecordBase

# The size for which there is room, as a multiple of the compressed size: at first, and by how much it grows.
_RATIO, _GROWTH = 16, 8
_GZIP = 31
"""As an argument of zlib."""
_GZIP_BEGINS = b"\x1f\x8b"


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
        # It has at most 21 times the size.
        return bytes(codec.snappy_decode(data))
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
    found = b""
    # There may be several streams. What follows the last one is ignored, as by Kafka.
    while data.startswith(_GZIP_BEGINS) or not found:
        stream = zlib.decompressobj(_GZIP)
        try:
            found += stream.decompress(data, limit + 1 - len(found))
        except zlib.error:
            return None
        if len(found) > limit or not stream.eof:
            return None
        data = stream.unused_data
    return found
