"""What the ingest stage tells the aggregate stage: the samples of one partition's hosts, as stored in SQL."""

import msgspec

from sparkle_app.model.sample import Samples

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Samples)


def pack_samples(samples: Samples) -> bytes:
    """MessagePack, to be sealed."""
    return _encoder.encode(samples)


def unpack_samples(packed: bytes) -> Samples:
    """The inverse of :func:`pack_samples`."""
    return _decoder.decode(packed)
