"""A sample: one stored reading, as far as an aggregate needs it."""

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
