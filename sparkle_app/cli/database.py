"""Base of the commands that use the database."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from sparkle_app.cli.base import OutputClosedError, SparkleCommand
from sparkle_app.config.settings import database_url
from sparkle_app.config.urls import shown
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.storage.errors import server_message, transient_error


class DatabaseCommand(SparkleCommand):
    """A command that uses the database."""

    abstract = True

    def _write(self, line: str, *args: Any, **kwargs: Any) -> None:
        # If the reader has closed standard output, the command still completes.
        with suppress(OutputClosedError):
            super()._write(line, *args, **kwargs)

    def in_database(self, work: Callable[[], int]) -> int:
        """Run a function that uses the database, and return its exit code.

        It runs in the main thread, so that Ctrl-C interrupts it at once; the open transaction is rolled back.

        Raises:
            ConfigurationError: when the database does not respond or reports an error.
        """
        try:
            with self.interruptible():
                return work()
        except SQLAlchemyError as error:
            url = shown(database_url(self.handler.settings))
            if message := server_message(error):
                raise ConfigurationError(
                    "database",
                    expected=f"{url} to execute the statement",
                    found=" ".join(message.split()),
                    hint="fix this and run the command again; a worker creates missing tables",
                ) from error
            raise ConfigurationError(
                "database.url",
                expected=f"a response from {url}",
                found=str(transient_error(error)),
                hint="start it, or correct the setting",
            ) from error
