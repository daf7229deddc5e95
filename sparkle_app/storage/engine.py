"""The connection to the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL, make_url

from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.errors import watch_errors
from sparkle_app.storage.models import Base


def make_engine(url: URL, *, for_command: bool = False) -> Engine:
    """An engine whose transactions are durable once they are committed; connects to nothing.

    Arguments:
        for_command: for the single thread of a command: its statements have no time limit, and Ctrl-C ends them.

    Raises:
        ConfigurationError: when the database cannot be used as it is set up.
    """
    engine = dialect_of(url).create_engine(url, for_command=for_command)
    watch_errors(engine)
    return engine


def scratch_engine(folder: Path) -> Engine:
    """An engine for a new database in a folder, to try something out."""
    return make_engine(make_url(f"sqlite:///{folder / 'scratch.sqlite3'}"))


def max_writers(engine: Engine) -> int:
    """How many threads may write to the database at the same time."""
    return dialect_of(engine).max_writers


def can_be_created(url: URL) -> bool:
    """Whether there is no database yet and a worker can create it; changes nothing.

    Raises:
        ConfigurationError: when a worker could not create it.
    """
    return dialect_of(url).can_be_created(url)


def damage(connection: Connection, seconds: float) -> str | None:
    """What is wrong with the database's files; None if nothing was found within ``seconds``."""
    return dialect_of(connection).damage(connection, seconds)


def create_tables(engine: Engine) -> None:
    """Create the tables that do not exist: those of the plugins, and that of hosts.

    Raises:
        SQLAlchemyError: when the database cannot be reached, or rejects a statement.
    """
    with engine.begin() as connection:
        dialect_of(engine).lock_schema(connection)
        Base.metadata.create_all(connection)


@contextmanager
def read_transaction(engine: Engine) -> Iterator[Connection]:
    """A connection in a read-only transaction with one snapshot; it never waits for a writer."""
    with engine.connect().execution_options(**dialect_of(engine).read_options) as connection:
        yield connection
