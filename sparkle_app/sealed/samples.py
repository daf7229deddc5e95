"""The message of a samples topic: samples of stored readings, of hosts in one partition."""

import msgspec

from sparkle_app.model.sample import Samples

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Samples)


def pack_samples(samples: Samples) -> bytes:
    """The samples as MessagePack, not encrypted yet."""
    return _encoder.encode(samples)


def unpack_samples(packed: bytes) -> Samples:
    """The inverse of :func:`pack_samples`."""
    return _decoder.decode(packed)
