"""What all statements share: each dialect's INSERT, and how much goes into one."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy.dialects import postgresql, sqlite

INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
"""INSERT with ON CONFLICT, by dialect."""
# SQLite takes 32,766 parameters in a statement.
_MAX_VALUES = 10_000
T = TypeVar("T")


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """``values``, as many at a time as a statement takes."""
    for start in range(0, len(values), _MAX_VALUES):
        yield values[start : start + _MAX_VALUES]
