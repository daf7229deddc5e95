"""Limits the number of values in a statement."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

# SQLite accepts 32,766 parameters in a statement.
_MAX_VALUES = 10_000
T = TypeVar("T")


def chunks(values: Sequence[T], size: int = _MAX_VALUES) -> Iterator[Sequence[T]]:
    """Split ``values`` into parts of at most ``size``, which fit into one statement each."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
