"""Selects dead letters."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from sparkle_app.dead_letters.message import DeadLetter
from sparkle_app.dead_letters.reader import DeadLetterReader, Position


@dataclass(frozen=True)
class Filter:
    """Which dead letters are selected; None: any value."""

    reason: str | None = None
    config_id: int | None = None
    host: str | None = None
    topic: str | None = None
    since: int | None = None
    until: int | None = None

    def matches(self, dead_letter: DeadLetter) -> bool:
        """Whether a dead letter is selected."""
        record = dead_letter.record
        return (
            self.reason in (None, dead_letter.reason.value)
            and self.config_id in (None, dead_letter.sender.config_id)
            and self.host in (None, dead_letter.sender.hostname)
            and self.topic in (None, record.topic)
            and (self.since is None or record.received_at >= self.since)
            and (self.until is None or record.received_at < self.until)
        )


async def matching(
    reader: DeadLetterReader, selected: Filter, limit: int | None = None
) -> AsyncIterator[tuple[Position, bytes, DeadLetter]]:
    """The selected dead letters with position and key: each the latest of its key and not deleted by a tombstone.

    Raises:
        TooManyDeadLettersError: if there are more than ``limit``, selected or not.
    """
    current = await reader.current(limit)
    async for position, key, dead_letter in reader.messages():
        if dead_letter and current.get(key) == position and selected.matches(dead_letter):
            yield position, key, dead_letter
