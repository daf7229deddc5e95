"""How many values one statement takes."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

# SQLite takes 32,766 parameters in a statement.
_MAX_VALUES = 10_000
T = TypeVar("T")


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """``values``, as many at a time as one statement takes."""
    for start in range(0, len(values), _MAX_VALUES):
        yield values[start : start + _MAX_VALUES]
