"""What an error of the database means."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, ExceptionContext, event
from sqlalchemy.exc import DBAPIError, DisconnectionError, NoSuchTableError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from sparkle_app.model.errors import TransientError
from sparkle_app.storage.dialects import DIALECTS
from sparkle_app.storage.dialects.base import Dialect

_TRANSIENT_TYPES = (OSError, MemoryError, NoFreeConnection, DisconnectionError, NoSuchTableError)
_seen = threading.local()


def is_row_error(error: Exception) -> bool:
    """Whether one of the rows, or what a plugin does with it, is the cause, so that a retry is no use.

    Errors whose cause may go away (unreachable, locked, full, no such table, no privilege) and that would refuse every
    row are listed; any other error is taken for a row's.
    """
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return False
    cause = error.orig if isinstance(error, StatementError) and error.orig else error
    if isinstance(cause, _TRANSIENT_TYPES):
        return False
    dialect = _dialect_of(cause)
    return not (dialect and dialect.is_transient(cause))


def transient_error(error: Exception) -> TransientError:
    """The error as the one line that the log shows."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return TransientError(f"database: {' '.join(str(cause).split())}")


def server_message(error: SQLAlchemyError) -> str | None:
    """The database's reason for refusing a statement; None where it cannot be reached, or refuses the login."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    dialect = _dialect_of(cause)
    return dialect.server_message(cause) if dialect else None


def is_lock_conflict(error: DBAPIError) -> bool:
    """Whether another transaction was in the way, so that it may be tried again at once."""
    dialect = _dialect_of(error.orig)
    return bool(dialect and dialect.is_lock_conflict(error.orig))


def watch_errors(engine: Engine) -> None:
    """Let :func:`reraise_swallowed` see the errors of an engine's statements."""

    @event.listens_for(engine, "handle_error")
    def on_error(context: ExceptionContext) -> None:
        error, errors = context.sqlalchemy_exception, getattr(_seen, "errors", None)
        if error and errors is not None and not context.is_pre_ping and not is_row_error(error):
            errors.append(error)


@contextmanager
def reraise_swallowed() -> Iterator[None]:
    """Raise at the end the first transient error of this thread's statements, even if it was caught in between: a
    plugin that only logs it would lose its row.

    Raises:
        SQLAlchemyError: the first of them.
    """
    errors: list[Exception] = []
    _seen.errors = errors
    try:
        yield
    finally:
        _seen.errors = None
        if errors:
            raise errors[0]


def _dialect_of(error: BaseException | None) -> Dialect | None:
    return next((each for each in DIALECTS.values() if error and each.is_own(error)), None)
