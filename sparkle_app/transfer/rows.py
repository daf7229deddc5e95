"""Rows of files that are imported, and the errors of those that cannot be."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparkle_app.model.buckets import AggregateRow
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.model.reading import Reading
from sparkle_app.transfer.kinds import InvalidCellError
from sparkle_app.transfer.layouts import Layout


@dataclass(frozen=True)
class FileRows:
    """The rows of a file, which is read as they are iterated."""

    name: str
    layout: Layout
    rows: Iterator[Reading | AggregateRow]
    size: int
    """The whole of the file, for :meth:`position`; 0 if it is not known."""
    position: Callable[[], int]
    """How much of the file has been read."""


def converted(where: str, layout: Layout, plain: Iterable[Any]) -> Reading | AggregateRow:
    """Check a row, and convert it.

    Arguments:
        where: the file and the row, for errors.
        plain: what Parquet holds for each column.

    Raises:
        ConfigurationError: when a value is not as expected.
    """
    values = []
    for (column, kind), value in zip(layout.kinds.items(), plain, strict=True):
        try:
            values.append(kind.check(value))
        except InvalidCellError as error:
            found = "no value" if value is None else repr(value)[:100]
            raise invalid(f"{where}, column {column}", str(error), found) from error
    try:
        row: Reading | AggregateRow = layout.item_of(tuple(values))
    except InvalidCellError as error:
        kind, value = layout.kinds[error.column], values[layout.columns.index(error.column)]
        found = kind.cell(kind.plain(value))
        raise invalid(f"{where}, column {error.column}", str(error), found) from error
    return row


def unknown_columns(where: str, columns: Sequence[str], known: Mapping[str, Layout]) -> ConfigurationError:
    """The error of a file whose columns are not those of any layout."""
    expected = " or ".join(
        f"the columns of {what} ({', '.join(each.columns)})" for what, each in known.items()
    )
    found = ", ".join(map(repr, columns))[:300] or "none"
    return ConfigurationError(
        where, expected=expected, found=found, hint="import a file that export has written"
    )


def invalid(where: str, expected: str, found: str) -> ConfigurationError:
    """The error of a row."""
    hint = "correct the file, or export it again"
    return ConfigurationError(where, expected=expected, found=found, hint=hint)
