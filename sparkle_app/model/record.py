"""A record as the broker holds it, and what became of it."""

from typing import NamedTuple

import msgspec

from sparkle_app.model.errors import InvalidRecordError
from sparkle_app.model.reading import Reading


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record of a plugin topic."""

    topic: str
    partition: int
    offset: int
    received_at: int
    """The broker's timestamp, microseconds since the epoch."""
    value: bytes
    replayed: bool = False
    """Whether it was a dead letter and was sent back through."""


class Rejection(NamedTuple):
    """Something of a record that can never be stored: the record as a whole, or one of its readings."""

    record: Record
    error: InvalidRecordError
    """Its ``index`` says which reading; None: the record as a whole."""


class Outcome(msgspec.Struct):
    """What became of one record; a format may hold several readings in a record."""

    record: Record
    readings: list[Reading]
    """Those that are to be stored."""
    errors: list[InvalidRecordError]
    """One for each reading that cannot be, or a single one for the record as a whole."""

    def reject(self, reading: Reading, error: InvalidRecordError) -> None:
        """One of the readings cannot be stored after all."""
        self.readings = [each for each in self.readings if each is not reading]
        self.errors.append(error)

    @property
    def rejections(self) -> list[Rejection]:
        """What becomes dead letters."""
        return [Rejection(self.record, error) for error in self.errors]

    @property
    def resolved(self) -> set[int | None]:
        """Which of the record's dead letters are none any more: indexes of readings, None for the whole record."""
        return {None, *(reading.index for reading in self.readings)} - {error.index for error in self.errors}
