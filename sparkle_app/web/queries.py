"""Queries of the database, in threads of their own."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.errors import transient_error
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, unavailable

T = TypeVar("T")


async def from_database(parts: WebParts, load: Callable[[Connection], T]) -> T:
    """The result of ``load``, which reads from one snapshot.

    Raises:
        Problem: that of ``load``; 503, when there are too many queries, or the database does not work at this moment.
    """

    def query() -> T:
        try:
            with read_transaction(parts.engine) as connection:
                return load(connection)
        except Problem:
            raise
        except Exception as error:
            raise unavailable(str(transient_error(error))) from error

    return await parts.queries.run(parts.readers, query)
