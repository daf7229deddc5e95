"""Base of commands that use the database: its errors, and time ranges."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from sparkle_app.cli.base import SparkleCommand, UsageError
from sparkle_app.config.settings import database_url
from sparkle_app.config.url_parameters import shown
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.model.time import EARLIEST, LATEST, rfc3339
from sparkle_app.storage.engine import can_be_created, make_engine, read_transaction
from sparkle_app.storage.errors import server_message, transient_error
from sparkle_app.storage.migrations.schema import read_schema


class DatabaseCommand(SparkleCommand):
    """A command that uses the database, and not the broker."""

    abstract = True

    def engine(self) -> Engine:
        """An engine for the single thread of the command."""
        return make_engine(database_url(self.handler.settings), for_command=True)

    def current_engine(self) -> Engine:
        """The same, for a database that exists, and does not have to be migrated.

        Raises:
            UsageError: when it does not exist, or has no table of the handler. It is not created.
            ConfigurationError: when it has another schema than this version.
            SQLAlchemyError: when it cannot be reached, or rejects a statement.
        """
        url = database_url(self.handler.settings)
        if can_be_created(url):
            raise _no_database(url, "none")
        engine = self.engine()
        with read_transaction(engine) as connection:
            schema = read_schema(connection, self.handler.plugins.branches)
        schema.require_current()
        if not schema.existing:
            raise _no_database(url, "none of its tables")
        return engine

    def warn_of_plugins(self) -> None:
        """Name the plugins that are left out, because they cannot be loaded."""
        for error in self.handler.plugins.errors:
            self.error(f"warning: {error}; left out")

    def in_database(self, work: Callable[[], int]) -> int:
        """Run a function that uses the database, and return its exit code.

        It runs in the main thread, so that Ctrl-C interrupts it at once; the open transaction is rolled back.

        Raises:
            ConfigurationError: when the database does not respond or reports an error.
        """
        with self.interruptible(), database_errors(database_url(self.handler.settings)):
            return work()


def _no_database(url: URL, found: str) -> UsageError:
    return UsageError(
        "database.url",
        expected=f"a database at {shown(url)} that a worker has used",
        found=found,
        hint="correct the setting, or --settings; a worker, or `migrate`, creates what is missing",
    )


@contextmanager
def database_errors(url: URL, setting: str = "database.url") -> Iterator[None]:
    """A context that turns errors of a database into ConfigurationError.

    Arguments:
        setting: where the URL comes from.

    Raises:
        ConfigurationError: when the database does not respond or reports an error.
    """
    try:
        yield
    except SQLAlchemyError as error:
        if message := server_message(error):
            raise ConfigurationError(
                "database",
                expected=f"{shown(url)} to execute the statement",
                found=" ".join(message.split()),
                hint="fix this and run the command again; a worker creates missing tables",
            ) from error
        raise ConfigurationError(
            setting,
            expected=f"a response from {shown(url)}",
            found=str(transient_error(error)),
            hint="start it, or correct the setting",
        ) from error


def time_range(since: int | None, until: int | None) -> tuple[int, int]:
    """Start and end that the options --since and --until mean.

    Raises:
        UsageError: when the time range is empty.
    """
    start = EARLIEST if since is None else since
    end = LATEST if until is None else until
    if end <= start:
        raise UsageError(
            "--until",
            expected=f"a time after --since, {rfc3339(start)}",
            found=rfc3339(end),
            hint="swap the two options, or omit one",
        )
    return start, end
