"""What all commands share: exit codes (0 done, 1 found something wrong, 2 wrong usage) and one line for a fault."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar, NoReturn, cast

import click
from aiokafka.errors import KafkaError
from faust.cli.base import AppCommand, option

from sparkle_app.kafka.connection import explain_failure
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.model.time import parse_instant
from sparkle_app.worker.application import SparkleApp


class Instant(click.ParamType):
    """A time with its offset from UTC, or a date, as over HTTP. Its value is microseconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Called by click."""
        try:
            return parse_instant(value)
        except ValueError as error:
            self.fail(f"expected {error}, found {value!r}", param, ctx)


JSON = option("--json", "as_json", is_flag=True, help="for a script")


class UsageError(ConfigurationError):
    """An option names what there is not."""


class OutputClosedError(Exception):
    """Who reads the output, such as head, has seen enough. No OSError: neither database nor broker is at fault."""


class SparkleCommand(AppCommand):
    """A command whose ``run`` returns the exit code."""

    abstract: ClassVar[bool] = True
    # Faust knows whether its classes are commands by this.

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run to the end, without Faust's worker around it."""
        # What goes wrong with the broker is said by the command itself.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        try:
            code = asyncio.run(self.run(*self.args, **self.kwargs))
        except ConfigurationError as fault:
            print(fault, file=sys.stderr)
            code = 2 if isinstance(fault, UsageError) else 1
        except OutputClosedError:
            code = 0
        except KeyboardInterrupt:
            code = 130
        sys.exit(code)

    def say(self, message: str, *args: Any, **kwargs: Any) -> None:
        """A line to standard output.

        Raises:
            OutputClosedError: when nobody reads it any more.
        """
        try:
            super().say(message, *args, **kwargs)
        except BrokenPipeError as error:
            # Python would complain once more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise OutputClosedError from error

    @asynccontextmanager
    async def broker(self) -> AsyncIterator[None]:
        """Around what talks to the broker.

        Raises:
            ConfigurationError: when it does not answer.
        """
        broker = self.handler.settings.broker
        try:
            yield
        except (KafkaError, OSError) as error:
            raise ConfigurationError(
                "broker.url",
                expected=f"a broker at {broker.url}",
                found=await explain_failure(broker, error),
                hint="start it, or correct the setting",
            ) from error

    @staticmethod
    def progress(length: int, what: str) -> Any:
        """A bar on a terminal, nothing in a pipe; a context whose ``update(n)`` moves it on."""
        return click.progressbar(
            length=length, label=what, file=sys.stderr, hidden=not sys.stderr.isatty(), show_pos=True
        )

    @staticmethod
    def note(text: str) -> None:
        """What is going on, for a person: a line on a terminal, nothing in a pipe."""
        if sys.stderr.isatty():
            print(text, file=sys.stderr)

    @staticmethod
    def fault(text: str) -> None:
        """One line to standard error."""
        print(text, file=sys.stderr)

    @property
    def handler(self) -> SparkleApp:
        """The app with its parts."""
        return cast(SparkleApp, self.app)
