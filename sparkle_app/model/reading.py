"""One reading of one host: as it was decrypted, and as SQL holds it."""

from datetime import datetime
from typing import Any

import msgspec


class StoredReading(msgspec.Struct, frozen=True):
    """A reading as SQL holds it: the same when it has just been stored and when its row is read again."""

    id: bytes
    """16 bytes: the same for a retry or a replay (docs/decisions/0005-reading-ids.md)."""
    config_id: int
    hostname: str
    key: str
    """What was measured; the metric."""
    value: Any
    observed_at: int
    """Event time, microseconds since the epoch."""
    received_at: int
    """The broker's time, microseconds since the epoch."""
    clock_trusted: bool
    """False: the host's clock was wrong, and observed_at is the broker's time."""
    topic: str
    partition: int
    offset: int


class Reading(msgspec.Struct, frozen=True):
    """A decrypted reading, on its way to SQL; fields as those of :class:`StoredReading`."""

    id: bytes
    config_id: int
    hostname: str
    plugin: str
    """NAME of the plugin that it belongs to."""
    key: str
    value: Any
    observed_at: int
    received_at: int
    clock_trusted: bool
    topic: str
    partition: int
    offset: int
    local_time: datetime | None = None
    """The host's own time, naive, as it was sent."""
    index: int | None = None
    """Which reading of its record it is; None where a record holds one."""

    def as_stored(self) -> StoredReading:
        """What SQL will hold of it."""
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
