"""What the ingest stage tells the aggregate stage: the samples of one partition's hosts, as stored in SQL."""

import msgspec

SAMPLE_ID_BYTES = 8


class Sample(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One stored reading, as far as an aggregate needs it."""

    id: bytes
    """The first 8 bytes of the reading's id: enough to tell the readings of one host and bucket apart."""
    metric: str
    value: float
    observed_at: int
    """Microseconds since the epoch."""


Samples = dict[str, list[Sample]]
"""Samples by hostname."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Samples)


def pack_samples(samples: Samples) -> bytes:
    """MessagePack, to be sealed."""
    return _encoder.encode(samples)


def unpack_samples(packed: bytes) -> Samples:
    """The inverse of :func:`pack_samples`."""
    return _decoder.decode(packed)
