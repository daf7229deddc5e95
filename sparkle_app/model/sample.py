"""A sample: one stored reading, as far as an aggregate needs it."""

import msgspec

from sparkle_app.model.reading import StoredReading

SAMPLE_ID_BYTES = 8


class Sample(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One stored reading, as far as an aggregate needs it."""

    id: bytes
    """The first 8 bytes of the reading's id: enough to tell the readings of one host and bucket apart."""
    metric: str
    value: float
    observed_at: int
    """Microseconds since the epoch."""

    @classmethod
    def of(cls, reading: StoredReading, value: float) -> "Sample":
        """The sample of a stored reading, of which ``value`` is aggregated."""
        return cls(reading.id[:SAMPLE_ID_BYTES], reading.key, value, reading.observed_at)


Samples = dict[str, list[Sample]]
"""Samples by hostname."""
