"""Options that select dead letters, for ``dead-letters`` and ``replay``."""

import click
from faust.cli.base import option

from sparkle_app.cli.base import UsageError
from sparkle_app.cli.options import TEXT, Instant
from sparkle_app.dead_letters.selection import Filter
from sparkle_app.model.errors import Reason

FILTERS = [
    option("--reason", type=click.Choice([reason.value for reason in Reason]), help="only with this reason"),
    option("--config", type=TEXT, help="only records with this config_id, as it is listed: - for none"),
    option("--host", type=TEXT, help="only records with this hostname, whole or as it is listed: - for none"),
    option("--topic", type=TEXT, help="only records of this topic"),
    option(
        "--since",
        type=Instant(),
        help="only records received at this time or later, such as 2026-11-23T12:00:00Z",
    ),
    option("--until", type=Instant(), help="only records received before this time"),
]
ALL = option("--all", "everything", is_flag=True, help="all dead letters")


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
