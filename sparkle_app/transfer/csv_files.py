"""CSV (RFC 4180): UTF-8, a header, lines that end in CR LF, and no cell that a spreadsheet takes for a formula."""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from sparkle_app.transfer.kinds import InvalidCellError
from sparkle_app.transfer.layouts import Layout, Row, of_header
from sparkle_app.transfer.rows import FileRows, converted, invalid, unknown_columns

_MAX_CELL = 16 * 1024 * 1024
"""Of a file that is read, in characters: without a limit, a missing quote would read the rest of it into memory."""


def header(layout: Layout) -> bytes:
    """The first line of a file."""
    return _lines([layout.columns])


def encode(layout: Layout, rows: Iterable[Row]) -> bytes:
    """Rows as lines."""
    convert = [(kind.plain, kind.cell) for kind in layout.kinds.values()]
    return _lines(
        [cell(plain(value)) for (plain, cell), value in zip(convert, row, strict=True)] for row in rows
    )


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


class CsvWriter:
    """Writes a file, header first."""

    def __init__(self, file: BinaryIO, layout: Layout) -> None:
        self._file, self._layout = file, layout
        file.write(header(layout))

    def write(self, rows: Iterable[Row]) -> None:
        """Append rows."""
        self._file.write(encode(self._layout, rows))

    def close(self) -> None:
        """Complete the contents; the file itself remains open."""
        self._file.flush()


def read(file: BinaryIO, name: str, known: Mapping[str, Layout]) -> FileRows:
    """Read a file, whose layout is found by its header.

    Arguments:
        name: of the file, for errors.

    Raises:
        ConfigurationError: when the file is not as expected, also while its rows are iterated.
    """
    csv.field_size_limit(_MAX_CELL)
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    lines = _read_lines(text, name)
    _, columns = next(lines, ("", []))
    if not (layout := of_header(columns, known)):
        raise unknown_columns(f"{name}, line 1", columns, known)
    size = os.fstat(file.fileno()).st_size

    def position() -> int:
        # Of a pipe, neither is known. The reference to `text` keeps the file open.
        return text.buffer.seek(0, os.SEEK_CUR) if size else 0

    return FileRows(name, layout, _read_rows(layout, columns, lines), size, position)


def _read_lines(text: io.TextIOWrapper, name: str) -> Iterator[tuple[str, list[str]]]:
    """Where each line begins, and its cells."""
    lines = csv.reader(text, strict=True)
    where = f"{name}, line 1"
    try:
        for cells in lines:
            yield where, cells
            where = f"{name}, line {lines.line_num + 1}"
    except csv.Error as error:
        raise invalid(where, "valid CSV (RFC 4180)", str(error)) from error
    except UnicodeDecodeError as error:
        # The bytes are decoded before they are split into lines.
        raise invalid(
            f"{where} or later", "text in UTF-8", f"the byte {error.object[error.start]:#04x}"
        ) from error


def _read_rows(
    layout: Layout, columns: Sequence[str], lines: Iterable[tuple[str, list[str]]]
) -> Iterator[Any]:
    places = [columns.index(column) for column in layout.columns]
    for where, cells in lines:
        # An empty line may end a file.
        if cells:
            if len(cells) != len(columns):
                raise invalid(where, f"{len(columns)} cells", str(len(cells)))
            yield converted(where, layout, _read_cells(where, layout, [cells[place] for place in places]))


def _read_cells(where: str, layout: Layout, cells: Sequence[str]) -> Iterator[Any]:
    for (column, kind), cell in zip(layout.kinds.items(), cells, strict=True):
        try:
            yield kind.read_cell(cell)
        except InvalidCellError as error:
            raise invalid(f"{where}, column {column}", str(error), repr(cell[:100])) from error
