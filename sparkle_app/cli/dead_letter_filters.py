"""Selection of dead letters, for ``dead-letters`` and ``replay``."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import click
from faust.cli.base import option

from sparkle_app.cli.base import Instant, UsageError
from sparkle_app.dead_letters.message import DeadLetter
from sparkle_app.dead_letters.reader import DeadLetterReader, Position
from sparkle_app.model.errors import Reason

FILTERS = [
    option("--reason", type=click.Choice([reason.value for reason in Reason]), help="only with this reason"),
    option("--config", "config_id", type=int, help="only records with this config_id"),
    option("--host", help="only records with this hostname"),
    option("--topic", help="only records of this topic"),
    option(
        "--since",
        type=Instant(),
        help="only records received at this time or later, such as 2026-11-23T12:00:00Z",
    ),
    option("--until", type=Instant(), help="only records received before this time"),
]
ALL = option("--all", "everything", is_flag=True, help="all dead letters")


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


def selection(command: str, everything: bool, selected: Filter) -> Filter:
    """The filter of a command that changes dead letters, which must be told explicitly to change all of them.

    Raises:
        UsageError: if there are neither filters nor ``--all``, or both.
    """
    if everything == (selected != Filter()):
        raise UsageError(
            command,
            expected="either --all or filters",
            found="both" if everything else "neither",
            hint="see --help",
        )
    return selected


async def matching(
    reader: DeadLetterReader, selected: Filter
) -> AsyncIterator[tuple[Position, bytes, DeadLetter]]:
    """The selected dead letters with position and key: each the latest of its key and not deleted by a tombstone."""
    current = await reader.current()
    async for position, key, dead_letter in reader.messages():
        if dead_letter and current.get(key) == position and selected.matches(dead_letter):
            yield position, key, dead_letter
