"""Samples: the parts of stored readings that aggregates need."""

import msgspec

from sparkle_app.model.reading import StoredReading

SAMPLE_ID_BYTES = 8


class Sample(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The part of one stored reading that an aggregate needs."""

    id: bytes
    """The first 8 bytes of the reading's id: enough to distinguish the readings of one host in one bucket."""
    metric: str
    value: float
    observed_at: int
    """Event time, microseconds since the epoch."""

    @classmethod
    def of(cls, reading: StoredReading, value: float) -> "Sample":
        """The sample of a stored reading with this numeric value."""
        return cls(reading.id[:SAMPLE_ID_BYTES], reading.key, value, reading.observed_at)


Samples = dict[str, list[Sample]]
"""Samples by hostname."""
