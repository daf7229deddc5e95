"""Base of all commands: errors as one line, and exit codes.

0 success, 1 error or difference found, 2 usage error, or standard output cannot be written.
"""

import asyncio
import logging
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, NoReturn, cast

import click
from aiokafka.errors import KafkaError
from faust.cli.base import AppCommand

from sparkle_app.kafka.diagnosis import explain_failure
from sparkle_app.model.errors import ConfigurationError, TransientError
from sparkle_app.plugin.discovery import InstalledPlugin
from sparkle_app.runtime.terminal import json_line, printable
from sparkle_app.worker.application import SparkleApp


class UsageError(ConfigurationError):
    """An option has a value that does not exist or contradicts another option."""


class OutputClosedError(Exception):
    """The reader of the output, such as ``head``, closed it. Not an OSError, which ``broker_errors`` would catch."""


class SparkleCommand(AppCommand):
    """A command whose ``run`` returns the exit code."""

    # Faust registers the subclasses of a command that are not abstract.
    abstract: ClassVar[bool] = True

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the command without starting a Faust worker, then exit."""
        # The command itself reports errors of the broker, in one line.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        if "as_json" in self.kwargs:
            # `faust --json NAME` is the same as `faust NAME --json`.
            self.kwargs["as_json"] = self.kwargs["as_json"] or self.json
        try:
            code = asyncio.run(self.run(*self.args, **self.kwargs))
        except ConfigurationError as error:
            self.error(str(error))
            code = 2 if isinstance(error, UsageError) else 1
        except TransientError as error:
            self.error(f"{self.ctx.info_name}: {error}; run the command again later")
            code = 1
        except OutputClosedError:
            code = 0
        except KeyboardInterrupt:
            code = 130
        except Exception as error:
            # Faust would print the exception, whose text may quote a password.
            self._report_unexpected(error)
            code = 1
        sys.exit(code)

    def _report_unexpected(self, error: Exception) -> None:
        if self.debug:
            traceback.print_tb(error.__traceback__)
        self.error(
            f"{self.ctx.info_name}: internal error: {type(error).__name__} in {self._place(error)};"
            f" run `faust -A sparkle_app --debug {self.ctx.info_name} ...` again, and report the traceback"
        )

    def _place(self, error: Exception) -> str:
        """The innermost line of the handler or of a plugin, as ``FILE:LINE``."""
        place = "another package"
        for frame in traceback.extract_tb(error.__traceback__):
            for folder in (Path(str(files("sparkle_app"))), self.handler.settings.plugins):
                if Path(frame.filename).is_relative_to(folder):
                    place = f"{Path(frame.filename).relative_to(folder.parent)}:{frame.lineno}"
        return place

    def say(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Write a line of text to standard output.

        Raises:
            OutputClosedError: when the reader has closed it; :class:`UsageError` when it cannot be written to.
        """
        self._write(printable(message), *args, **kwargs)

    def say_json(self, value: Any) -> None:
        """Write a value as a line of JSON to standard output.

        Raises:
            OutputClosedError: when the reader has closed it; :class:`UsageError` when it cannot be written to.
        """
        self._write(json_line(value))

    def _write(self, line: str, *args: Any, **kwargs: Any) -> None:
        with self.closed_output():
            super().say(line, *args, **kwargs)

    @staticmethod
    @contextmanager
    def closed_output() -> Iterator[None]:
        """A context in which standard output may be closed by its reader, or may fail.

        Raises:
            OutputClosedError: when it is closed.
            UsageError: when it cannot be written to.
        """
        try:
            yield
        except OSError as error:
            # Otherwise Python flushes standard output at exit and reports the same error again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise OutputClosedError from error
            # Not exit code 1, which means to scripts that a difference was found.
            raise UsageError(
                "standard output",
                expected="a file to write to",
                found=error.strerror or str(error),
                hint="free disk space, or choose another",
            ) from error

    @asynccontextmanager
    async def broker_errors(self) -> AsyncIterator[None]:
        """A context that turns errors of the broker into ConfigurationError.

        Raises:
            ConfigurationError: when the broker does not respond or rejects a request.
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
    @contextmanager
    def interruptible() -> Iterator[None]:
        """Let Ctrl-C interrupt what blocks the event loop, which asyncio's handler would only notify."""
        before = signal.getsignal(signal.SIGINT)
        if before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @staticmethod
    def progress(length: int, label: str, *, hidden: bool = False) -> Any:
        """A progress bar on a terminal, nothing in a pipe; a context manager with ``update(n)``."""
        hidden = hidden or not sys.stderr.isatty()
        return click.progressbar(length=length, label=label, file=sys.stderr, hidden=hidden, show_pos=True)

    @staticmethod
    def note(text: str) -> None:
        """Write a line about progress to standard error if it is a terminal."""
        if sys.stderr.isatty():
            print(printable(text), file=sys.stderr)

    @staticmethod
    def error(text: str) -> None:
        """Write a line to standard error."""
        print(printable(text), file=sys.stderr)

    def installed_plugin(self, name: str) -> InstalledPlugin:
        """The plugin with this NAME, or in the folder of this name.

        Raises:
            ConfigurationError: when it cannot be loaded; :class:`UsageError` when there is none.
        """
        plugins = self.handler.plugins
        for installed in plugins.installed.values():
            if name in (installed.name, installed.manifest.folder.name):
                return installed
        for error in plugins.errors:
            if name in error.where:
                raise error
        raise UsageError(
            "PLUGIN",
            expected=f"one of {', '.join(sorted(plugins.installed))}",
            found=name,
            hint="`check` lists the plugins, and those that cannot be loaded",
        )

    @property
    def handler(self) -> SparkleApp:
        """The application, with its type."""
        return cast(SparkleApp, self.app)
