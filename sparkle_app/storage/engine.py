"""The connection to the database."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from sparkle_app.config.url_parameters import refused_parameter
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.errors import watch_errors
from sparkle_app.storage.wal import WriteAheadLog

_SNAPSHOT_SECONDS = 0.25


def make_engine(url: URL, *, for_command: bool = False, threads: int | None = None) -> Engine:
    """An engine whose transactions are durable once they are committed; connects to nothing.

    Arguments:
        for_command: for the single thread of a command: its statements have no time limit, and Ctrl-C ends them.
        threads: how many use it: each gets a connection at once, and there are no others. None: SQLAlchemy's defaults.

    Raises:
        ConfigurationError: when the database cannot be used as it is set up.
    """
    try:
        _check_parameters(url)
        pool = _pool_options(url, threads) if threads else {}
        engine = dialect_of(url).create_engine(url, for_command=for_command, pool=pool)
    except ImportError as error:
        raise ConfigurationError(
            "database.url",
            expected=f"the driver of {url.drivername}://… to be usable",
            found=" ".join(str(error).split()),
            hint="install what it needs",
        ) from error
    watch_errors(engine)
    return engine


def _pool_options(url: URL, connections: int) -> Mapping[str, Any]:
    # A database that is not tested may have another pool, without these options.
    kind: Any = url.get_dialect()
    is_limited = issubclass(kind.get_pool_class(url), QueuePool)
    return {"pool_size": connections, "max_overflow": 0} if is_limited else {}


def _check_parameters(url: URL) -> None:
    """Raise ConfigurationError if the driver cannot use a parameter of the URL, such as a number that is none."""
    kind: Any = url.get_dialect()
    dialect = kind(dbapi=kind.import_dbapi())

    def refused(query: Mapping[str, str | tuple[str, ...]]) -> bool:
        try:
            # The same are given when the engine is created.
            with warnings.catch_warnings(action="ignore"):
                dialect.create_connect_args(url.set(query=query))
        except (SQLAlchemyError, AttributeError, OverflowError, TypeError, ValueError):
            return True
        # create_engine() would look for a plugin of SQLAlchemy.
        return "plugin" in query

    if refused(url.query):
        raise refused_parameter(dialect.driver, url.query, refused)


def scratch_engine(folder: Path) -> Engine:
    """An engine for a new database in a folder, to try something out."""
    return make_engine(make_url(f"sqlite:///{folder / 'scratch.sqlite3'}"))


def max_writers(engine: Engine) -> int:
    """How many threads may write to the database at the same time."""
    return dialect_of(engine).max_writers


def notice(url: URL) -> str | None:
    """What a user should know before relying on this database; None: nothing."""
    text = dialect_of(url).notice
    return f"{url.get_backend_name()}: {text}" if text else None


def can_be_created(url: URL) -> bool:
    """Whether there is no database yet and a worker can create it; changes nothing.

    Raises:
        ConfigurationError: when a worker could not create it.
    """
    return dialect_of(url).can_be_created(url)


def write_ahead_log(url: URL) -> WriteAheadLog | None:
    """The log of a database that is a file on this machine; None if the database has a server."""
    return dialect_of(url).write_ahead_log(url)


def damage(connection: Connection, seconds: float) -> str | None:
    """What is wrong with the database's files; None if nothing was found within ``seconds``."""
    return dialect_of(connection).damage(connection, seconds)


def return_space(engine: Engine) -> bool:
    """Return a part of the space of deleted rows to the disk; returns whether there is more."""
    with engine.begin() as connection:
        return dialect_of(connection).return_space(connection)


def space_warning(engine: Engine) -> str | None:
    """Why the space of deleted rows is never returned to the disk; None: it is, or it need not be."""
    with read_transaction(engine) as connection:
        return dialect_of(connection).space_warning(connection)


@contextmanager
def read_transaction(engine: Engine) -> Iterator[Connection]:
    """A connection in a read-only transaction with one snapshot; it never waits for a writer."""
    with engine.connect().execution_options(**dialect_of(engine).read_options(engine)) as connection:
        yield connection


@contextmanager
def short_read_transactions(
    engine: Engine, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[], Connection]]:
    """A function that returns the connection of :func:`read_transaction`, with a new snapshot after some time.

    For many statements that need not see the same snapshot: as long as one is kept, SQLite's WAL grows, and VACUUM of
    PostgreSQL removes no row that was deleted since. The rows of a statement must be read before the next call.
    """
    with read_transaction(engine) as connection:
        since = clock()

        def current() -> Connection:
            nonlocal since
            if clock() - since >= _SNAPSHOT_SECONDS:
                connection.rollback()
                since = clock()
            return connection

        yield current
