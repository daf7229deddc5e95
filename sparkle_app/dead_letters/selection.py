"""Selects dead letters."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec

from sparkle_app.dead_letters.message import DeadLetter, quoted
from sparkle_app.dead_letters.reader import DeadLetterReader, Position


class Fields(msgspec.Struct, frozen=True, gc=False):
    """What a dead letter is selected by. Its record may say anything of host and config: they are as they are shown."""

    reason: str
    config: str
    host: str
    hostname_hash: int
    """Of the whole hostname, which may be too long to be shown, or to be kept for many dead letters."""
    topic: str
    received_at: int


def fields_of(dead_letter: DeadLetter) -> Fields:
    """What a dead letter is selected by."""
    record, sender = dead_letter.record, dead_letter.sender
    host = quoted(sender.hostname)
    return Fields(
        reason=dead_letter.reason.value,
        config=quoted(sender.config_id),
        host=host,
        hostname_hash=hash(sender.hostname if isinstance(sender.hostname, str) else host),
        topic=record.topic,
        received_at=record.received_at,
    )


@dataclass(frozen=True)
class Filter:
    """Which dead letters are selected; None: any value."""

    reason: str | None = None
    config: str | None = None
    """As it is shown."""
    host: str | None = None
    """As it is shown, or the whole hostname."""
    topic: str | None = None
    since: int | None = None
    until: int | None = None

    def matches(self, fields: Fields) -> bool:
        """Whether a dead letter is selected."""
        return (
            self.reason in (None, fields.reason)
            and self.config in (None, fields.config)
            and (self.host in (None, fields.host) or hash(self.host) == fields.hostname_hash)
            and self.topic in (None, fields.topic)
            and (self.since is None or fields.received_at >= self.since)
            and (self.until is None or fields.received_at < self.until)
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
        if dead_letter and current.get(key) == position and selected.matches(fields_of(dead_letter)):
            yield position, key, dead_letter
