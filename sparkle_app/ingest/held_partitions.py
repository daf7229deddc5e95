"""Partitions with records that are held back: they are not acknowledged, and after a rebalance they are read again."""

from collections.abc import Iterable, Sequence

from sparkle_app.ingest.key_breaker import KeyBreaker
from sparkle_app.kafka.record_batches import Event, Events
from sparkle_app.model.record import Outcome, Record

# A record among them takes some 200 bytes.
_MAX_REJECTED = 100_000


class HeldPartitions:
    """The partitions of one topic in which the circuit breaker holds records back.

    Other records in them are stored, or become dead letters. When they are read again, the cause of a dead letter may
    have been repaired as well; then it is deleted.
    """

    def __init__(self, breaker: KeyBreaker) -> None:
        self._breaker = breaker
        self._held: set[tuple[str, int]] = set()
        """Of one generation: events of an earlier one are not acknowledged anyway."""
        self._generation: int | None = None
        # Partition and offset of records that have become dead letters meanwhile, the oldest ones first.
        self._rejected: dict[tuple[int, int], None] = {}

    def to_hold(self, events: Events, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes to hold back. Their partitions are not acknowledged any further."""
        if events[-1].message.generation_id != self._generation:
            self._held, self._generation = set(), events[-1].message.generation_id
        held = self._breaker.to_hold(outcomes)
        partitions = {outcome.record.partition for outcome in held}
        self._held |= {event.message.tp for event in events if event.message.partition in partitions}
        return held

    def contains(self, event: Event) -> bool:
        """Whether committing the offset of an event would skip what is held back."""
        return event.message.generation_id == self._generation and event.message.tp in self._held

    def note_rejected(self, outcomes: Iterable[Outcome]) -> None:
        """Take into account that dead letters were produced."""
        partitions = {partition for _, partition in self._held}
        for outcome in outcomes:
            if outcome.errors and outcome.record.partition in partitions:
                self._rejected[_place(outcome.record)] = None
        while len(self._rejected) > _MAX_REJECTED:
            del self._rejected[next(iter(self._rejected))]

    def take_resolved(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Those that had become dead letters, and have readings now."""
        resolved = [each for each in outcomes if each.readings and _place(each.record) in self._rejected]
        for each in resolved:
            del self._rejected[_place(each.record)]
        return resolved


def _place(record: Record) -> tuple[int, int]:
    return record.partition, record.offset
