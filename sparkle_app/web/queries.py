"""Queries of the database, in threads of their own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection

from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.errors import is_of_database, transient_error
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import unavailable

T = TypeVar("T")


@contextmanager
def database_problems() -> Iterator[None]:
    """For a block that queries the database.

    Raises:
        Problem: 503, when the database does not work at this moment.
    """
    try:
        yield
    except Exception as error:
        # A repeated request would not help if a plugin raised it, and the log has to say where.
        if not is_of_database(error):
            raise
        raise unavailable(str(transient_error(error))) from error


async def from_database(parts: WebParts, load: Callable[[Connection], T]) -> T:
    """The result of ``load``, which reads from one snapshot.

    Raises:
        Problem: that of ``load``; 503, when there are too many queries, or the database does not work at this moment.
        Exception: any other one of ``load``.
    """

    def query() -> T:
        with database_problems(), read_transaction(parts.engine) as connection:
            return load(connection)

    return await parts.queries.run(parts.readers, query)
