"""Options that several commands have: their types, and the confirmation that --yes replaces."""

import sys
from typing import Any

import click
from faust.cli.base import option

from sparkle_app.cli.base import UsageError
from sparkle_app.cli.messages import ENGLISH
from sparkle_app.cli.prompts import confirm
from sparkle_app.model.time import parse_instant
from sparkle_app.runtime.terminal import is_utf8


class Instant(click.ParamType):
    """A time with an offset from UTC, or a date, as in the HTTP API; the value is microseconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Convert the value of an option; called by click."""
        try:
            return parse_instant(value)
        except ValueError as error:
            self.fail(f"expected {error}, found {value!r}", param, ctx)


class Text(click.ParamType):
    """A text that a database, the broker and JSON accept: UTF-8 without NUL."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Convert the value of an option; called by click."""
        text = str(value)
        if "\0" in text or not is_utf8(text):
            self.fail(f"expected UTF-8 without NUL characters, found {text[:100]!r}", param, ctx)
        return text


TEXT = Text()
CONFIG_ID = click.IntRange(-(2**63), 2**63 - 1)
"""The column is a BIGINT."""
JSON = option("--json", "as_json", is_flag=True, help="JSON output, for scripts")


def check_confirmation(command: str, yes: bool, as_json: bool) -> None:
    """Check that a command can ask for confirmation, or need not.

    Arguments:
        yes: whether the option --yes was given.

    Raises:
        UsageError: if it cannot.
    """
    if not yes and as_json:
        raise UsageError(
            f"{command} --json", expected="--yes", found="none", hint="--json cannot prompt for confirmation"
        )
    if not yes and not sys.stdin.isatty():
        raise UsageError("standard input", expected="a terminal", found="none", hint="use --yes")


def is_confirmed(question: str) -> bool:
    """Ask a question, in English; without an answer, it is no."""
    try:
        return confirm({**ENGLISH, "confirm": f"{question} [y/N]: "}, default=False)
    except EOFError:
        return False
