"""The message of a samples topic: samples of stored readings, of hosts in one partition."""

from collections.abc import Iterator

import msgspec

from sparkle_app.model.sample import Samples

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Samples)


def pack_samples(samples: Samples) -> bytes:
    """The samples as MessagePack, not encrypted yet."""
    return _encoder.encode(samples)


def pack_within(samples: Samples, max_bytes: int) -> Iterator[bytes]:
    """The samples in several packed messages of at most ``max_bytes`` each, if one is not enough.

    A single sample that is larger forms a message by itself.
    """
    packed = pack_samples(samples)
    if len(packed) <= max_bytes or sum(map(len, samples.values())) <= 1:
        yield packed
        return
    for half in _halves(samples):
        yield from pack_within(half, max_bytes)


def _halves(samples: Samples) -> tuple[Samples, Samples]:
    if len(samples) > 1:
        hosts = list(samples.items())
        return dict(hosts[: len(hosts) // 2]), dict(hosts[len(hosts) // 2 :])
    ((hostname, all_),) = samples.items()
    return {hostname: all_[: len(all_) // 2]}, {hostname: all_[len(all_) // 2 :]}


def unpack_samples(packed: bytes) -> Samples:
    """The inverse of :func:`pack_samples`.

    Raises:
        DecodeError, UnicodeDecodeError: if these are not packed samples.
    """
    return _decoder.decode(packed)
