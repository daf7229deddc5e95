"""A lock of the session: where CREATE TABLE commits, one of the transaction would end with it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from sparkle_app.model.errors import TransientError


@contextmanager
def session_lock(
    connection: Connection, take: Callable[[], bool], release: Callable[[], object]
) -> Iterator[None]:
    """Keep the lock meanwhile.

    Arguments:
        take: takes it; False: another session keeps it.

    Raises:
        TransientError: if another session keeps it.
    """
    if not take():
        raise TransientError("another process creates or migrates its tables", "wait until this is done")
    try:
        yield
    except BaseException:
        # Closes it, which releases the lock.
        connection.invalidate()
        raise
    release()
