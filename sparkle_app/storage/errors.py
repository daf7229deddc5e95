"""Classification of database errors."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Engine, ExceptionContext, event
from sqlalchemy.exc import (
    DBAPIError,
    DisconnectionError,
    NoSuchTableError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from sparkle_app.model.errors import TransientError
from sparkle_app.storage.dialects.base import DIALECTS, PORTABLE, Dialect

_TRANSIENT_TYPES = (
    TransientError,
    OSError,
    MemoryError,
    NoFreeConnection,
    DisconnectionError,
    NoSuchTableError,
)
_seen = threading.local()
T = TypeVar("T")


def is_row_error(error: Exception) -> bool:
    """Whether one of the rows, or the plugin's handling of it, caused the error, so that a retry would not help.

    The errors that are transient and affect every row (unreachable, locked, full, missing table, missing privilege) are
    listed; any other error counts as the error of a row.
    """
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return False
    cause = error.orig if isinstance(error, StatementError) and error.orig else error
    if isinstance(cause, _TRANSIENT_TYPES):
        return False
    # An exception of a plugin may have the name of one of a database's.
    dialect = _dialect_of(cause, wrapped=isinstance(error, StatementError))
    return not (dialect and dialect.is_transient(cause))


def is_of_database(error: Exception) -> bool:
    """Whether the database or the operating system caused an error; otherwise a plugin did, or it is a defect."""
    return isinstance(error, (SQLAlchemyError, *_TRANSIENT_TYPES)) or _dialect_of(error) is not None


def transient_error(error: Exception) -> TransientError:
    """The error as a TransientError, whose message is one line for the log."""
    if isinstance(error, TransientError):
        return error
    cause = error.orig if isinstance(error, DBAPIError) else error
    dialect = _dialect_of(cause, wrapped=isinstance(error, DBAPIError))
    # If the database has not answered, the cause may be the setting, or anything between.
    remedy = dialect.remedy(cause) if dialect and dialect.server_message(cause) else None
    return TransientError(f"database: {' '.join(str(cause).split())}", remedy)


def server_message(error: Exception) -> str | None:
    """The database's error message for a rejected statement; None if it cannot be reached, or rejects the login."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    dialect = _dialect_of(cause)
    return dialect.server_message(cause) if dialect else None


def is_refused_login(error: Exception) -> bool:
    """Whether the database rejected the user name or the password."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    dialect = _dialect_of(cause)
    return bool(dialect and dialect.is_refused_login(cause))


def is_lock_conflict(error: DBAPIError) -> bool:
    """Whether the error is a lock conflict with another transaction, to be retried immediately."""
    dialect = _dialect_of(error.orig)
    return bool(dialect and dialect.is_lock_conflict(error.orig))


def repeated_on_lock_conflict(transaction: Callable[[], T], attempts: int, pause: float = 0.0) -> T:
    """The result of ``transaction``, which is executed again after a lock conflict.

    Arguments:
        attempts: how often it is executed, at most.
        pause: seconds after each conflict. Those who write wait for a transaction that waits for an exclusive lock.

    Raises:
        DBAPIError: another error, or the conflict of the last attempt.
    """
    for _ in range(attempts - 1):
        try:
            return transaction()
        except DBAPIError as error:
            if not is_lock_conflict(error):
                raise
            time.sleep(pause)
    return transaction()


def watch_errors(engine: Engine) -> None:
    """Close an engine's connections to a server that is read-only, and record errors for :func:`reraise_swallowed`."""

    @event.listens_for(engine, "handle_error")
    def on_error(context: ExceptionContext) -> None:
        dialect = _dialect_of(context.original_exception)
        if dialect and dialect.is_wrong_server(context.original_exception):
            # Discards this connection, and the other ones of the pool before they are used again.
            context.is_disconnect = True
        error, errors = context.sqlalchemy_exception, getattr(_seen, "errors", None)
        if error and errors is not None and not context.is_pre_ping and not is_row_error(error):
            errors.append(error)


@contextmanager
def reraise_swallowed() -> Iterator[None]:
    """Raise the first transient error of this thread's statements when the context ends, even if it was caught.

    Otherwise a plugin that only logs the error would lose its row.

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


def _dialect_of(error: BaseException | None, *, wrapped: bool = True) -> Dialect | None:
    """The dialect whose driver raised an error; any driver's if SQLAlchemy has wrapped it."""
    own = (each for each in DIALECTS.values() if error and each.is_own(error))
    return next(own, PORTABLE if wrapped and error and PORTABLE.is_own(error) else None)
