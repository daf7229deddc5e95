"""What the commands about dead letters share: which letters are meant."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import click
from faust.cli.base import option

from sparkle_app.cli.base import Instant
from sparkle_app.dead_letters.message import Letter
from sparkle_app.dead_letters.reader import LettersTopic
from sparkle_app.model.errors import Reason

FILTERS = [
    option(
        "--reason", type=click.Choice([reason.value for reason in Reason]), help="refused for this reason"
    ),
    option("--config", "config_id", type=int, help="with this config_id"),
    option("--host", help="with this hostname"),
    option("--topic", help="from this topic"),
    option("--since", type=Instant(), help="received at this time or later, such as 2026-11-23T12:00:00Z"),
    option("--until", type=Instant(), help="received before this time"),
]


@dataclass(frozen=True)
class Filter:
    """Which letters are meant; None stands for any."""

    reason: str | None = None
    config_id: int | None = None
    host: str | None = None
    topic: str | None = None
    since: int | None = None
    until: int | None = None

    def matches(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        record = letter.record
        return (
            self.reason in (None, letter.reason.value)
            and self.config_id in (None, letter.sender.config_id)
            and self.host in (None, letter.sender.hostname)
            and self.topic in (None, record.topic)
            and (self.since is None or record.received_at >= self.since)
            and (self.until is None or record.received_at < self.until)
        )


async def meant(letters: LettersTopic, wanted: Filter) -> AsyncIterator[tuple[bytes, Letter]]:
    """Key and letter of those that are meant, and neither replaced nor withdrawn."""
    current = await letters.current()
    async for place, key, letter in letters.messages():
        if letter and current.get(key) == place and wanted.matches(letter):
            yield key, letter
