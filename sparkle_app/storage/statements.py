"""Limits the number of values in a statement, and of rows on a page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

# SQLite accepts 32,766 parameters in a statement.
_MAX_VALUES = 10_000
T = TypeVar("T")


def chunks(values: Sequence[T], size: int = _MAX_VALUES) -> Iterator[Sequence[T]]:
    """Split ``values`` into parts of at most ``size``, which fit into one statement each."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def groups_of_hosts(hosts: Mapping[str, int], max_rows: int, max_hosts: int) -> Iterator[list[str]]:
    """Split hosts, with their numbers of rows, into groups that fit on a page, in the order of their names.

    A host with more rows than fit is a group of its own.
    """
    group: list[str] = []
    rows = 0
    for hostname, count in sorted(hosts.items()):
        if group and (rows + count > max_rows or len(group) == max_hosts):
            yield group
            group, rows = [], 0
        group.append(hostname)
        rows += count
    if group:
        yield group
