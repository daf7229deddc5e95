"""A reading of a host: decrypted, and as stored in SQL."""

from datetime import datetime
from typing import Any

import msgspec


class StoredReading(msgspec.Struct, frozen=True):
    """A reading as its row in SQL has it: the same directly after the insert and when the row is read later."""

    id: bytes
    """16 bytes: the same for a producer's retry and for a replay (docs/decisions/0005-reading-ids.md)."""
    config_id: int
    hostname: str
    key: str
    """The metric."""
    value: Any
    observed_at: int
    """Event time, microseconds since the epoch."""
    received_at: int
    """The record's timestamp, microseconds since the epoch."""
    clock_trusted: bool
    """False: the host's clock was wrong, and observed_at is received_at."""
    topic: str
    partition: int
    offset: int


class Reading(msgspec.Struct, frozen=True, array_like=True):
    """A decrypted reading that is not stored yet. Fields without a description are those of :class:`StoredReading`."""

    id: bytes
    config_id: int
    hostname: str
    plugin: str
    """NAME of its plugin."""
    key: str
    value: Any
    observed_at: int
    received_at: int
    clock_trusted: bool
    topic: str
    partition: int
    offset: int
    local_time: datetime | None = None
    """The host's local time as it was sent, naive; None if the reading is imported from a file."""
    index: int | None = None
    """Index of the reading in its record; None if a record holds a single reading."""

    def as_stored(self) -> StoredReading:
        """The reading as its row in SQL will have it."""
        return StoredReading(
            self.id,
            self.config_id,
            self.hostname,
            self.key,
            self.value,
            self.observed_at,
            self.received_at,
            self.clock_trusted,
            self.topic,
            self.partition,
            self.offset,
        )
