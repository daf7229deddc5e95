"""A record as the broker has it, and the outcome of processing it."""

from typing import NamedTuple

import msgspec

from sparkle_app.model.errors import InvalidRecordError
from sparkle_app.model.reading import Reading


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record of a plugin topic."""

    topic: str
    partition: int
    offset: int
    received_at: int
    """The record's timestamp, or the time of its arrival if that is implausible; microseconds since the epoch."""
    value: bytes
    replayed: bool = False
    """Whether the record is a replayed dead letter."""
    legacy: bool = False
    """Whether its dead letter has a key of the earlier format, without a timestamp."""
    behind: bool = False
    """Whether its timestamp is days before that of another record that precedes it in its partition."""
    timestamp: int | None = None
    """The record's timestamp if it is implausible, milliseconds: it is the same whenever the record is redelivered."""
    omitted_bytes: int = 0
    """The size of the value if it is too large to be kept: ``value`` is empty then."""


class Rejection(NamedTuple):
    """A record as a whole, or one of its readings, that can never be stored."""

    record: Record
    error: InvalidRecordError
    """Its ``index`` is that of the reading; None: the record as a whole."""


class Outcome(msgspec.Struct):
    """The outcome of processing one record. A wire format may put several readings into a record."""

    record: Record
    readings: list[Reading]
    """The readings to store."""
    errors: list[InvalidRecordError]
    """One for each reading that cannot be stored, or a single one for the record as a whole."""

    def reject(self, reading: Reading, error: InvalidRecordError) -> None:
        """Remove a reading that cannot be stored, and add its error."""
        self.readings = [each for each in self.readings if each is not reading]
        self.errors.append(error)

    @property
    def rejections(self) -> list[Rejection]:
        """The rejections that become dead letters, one for each error."""
        return [Rejection(self.record, error) for error in self.errors]

    @property
    def resolved(self) -> set[int | None]:
        """Indexes under which the record needs no dead letter: those of its readings, and None unless it is invalid."""
        return {None, *(reading.index for reading in self.readings)} - {error.index for error in self.errors}
