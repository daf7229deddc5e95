"""The database that ``move`` copies to: the option ``--to``, and errors that name it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getpass
from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr
from sqlalchemy import Engine, ExceptionContext, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from sparkle_app.cli.base import UsageError
from sparkle_app.cli.database import database_errors
from sparkle_app.config import urls
from sparkle_app.config.loading import absolute_url
from sparkle_app.model.errors import ConfigurationError


class Secret(click.ParamType):
    """A text that is not quoted in a message of click; checked where it is used."""

    name = "secret"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> SecretStr:
        """Convert the value of an option; called by click."""
        return value if isinstance(value, SecretStr) else SecretStr(value)


def target_url(given: SecretStr) -> URL:
    """The URL that --to gives; ``-``: that of standard input.

    Raises:
        UsageError: if it is none.
    """
    if given.get_secret_value() == "-":
        given = _from_standard_input()
    with named_target():
        return absolute_url(Path.cwd(), make_url(urls.database_url(given).get_secret_value()))


def _from_standard_input() -> SecretStr:
    try:
        text = getpass("URL: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
    except EOFError:
        text = ""
    except UnicodeDecodeError:
        # Not chained: it quotes the URL.
        raise UsageError(
            "standard input",
            expected="a URL in the encoding of the locale",
            found="other characters",
            hint="percent-encode them in the user name and the password",
        ) from None
    if not text:
        raise UsageError(
            "standard input",
            expected="the URL of the database to copy to",
            found="nothing",
            hint="enter it, or write it after --to",
        )
    return SecretStr(text)


@contextmanager
def named_target() -> Iterator[None]:
    """A context in which errors of ``database.url`` are errors of --to."""
    try:
        yield
    except ConfigurationError as error:
        if error.where != "database.url":
            raise
        raise UsageError("--to", expected=error.expected, found=error.found, hint=error.hint) from error


@contextmanager
def target_errors(target: Engine) -> Iterator[None]:
    """A context that turns errors of the target into ConfigurationError; those of the source pass."""
    failed: list[BaseException | None] = []

    @event.listens_for(target, "handle_error")
    def on_error(context: ExceptionContext) -> None:
        failed.append(context.sqlalchemy_exception)

    with named_target():
        try:
            yield
        except SQLAlchemyError as error:
            if any(error is each for each in failed):
                with database_errors(target.url, "--to"):
                    raise
            raise
