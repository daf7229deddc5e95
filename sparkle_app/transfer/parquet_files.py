"""Parquet, with the package pyarrow, which the extra ``parquet`` brings."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.transfer.layouts import Layout, Row, of_header
from sparkle_app.transfer.rows import FileRows, converted, invalid, unknown_columns

MAGIC = b"PAR1"
"""How a file begins."""
_GROUP_ROWS = 100_000
"""Of a row group: what a reader has in memory at once."""
_BATCH_ROWS = 10_000
_PLUGIN = b"sparkle_m.plugin"
"""Key of the file's metadata."""


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigurationError(
            "Parquet",
            expected="the package pyarrow",
            found="none" if isinstance(error, ModuleNotFoundError) else _line(error),
            hint="install the extra parquet: pip install -r requirements-parquet.txt; or use CSV",
        ) from error
    return pyarrow


class ParquetWriter:
    """Writes a file.

    Arguments:
        plugin: NAME of the plugin, which the file's metadata contains.

    Raises:
        ConfigurationError: when pyarrow is not installed.
    """

    def __init__(self, file: BinaryIO, layout: Layout, plugin: str) -> None:
        self._pa = _pyarrow()
        self._layout = layout
        self._schema = _schema(self._pa, layout).with_metadata({_PLUGIN: plugin.encode()})
        self._writer = self._pa.parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._batches: list[Any] = []
        self._rows = 0

    def write(self, rows: Iterable[Row]) -> None:
        """Append rows."""
        columns = list(zip(*rows, strict=True))
        arrays = [
            self._pa.array([kind.plain(value) for value in column], field.type)
            for column, kind, field in zip(columns, self._layout.kinds.values(), self._schema, strict=True)
        ]
        self._batches.append(self._pa.record_batch(arrays, schema=self._schema))
        self._rows += len(self._batches[-1])
        if self._rows >= _GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Complete the contents; the file itself remains open."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._batches:
            self._writer.write_table(self._pa.Table.from_batches(self._batches))
        self._batches, self._rows = [], 0


def read(file: BinaryIO, name: str, plugin: str, known: Mapping[str, Layout]) -> FileRows:
    """Read a file, whose layout is found by its columns.

    Arguments:
        name: of the file, for errors.
        plugin: NAME of the plugin that the rows have to belong to, if the file says one.

    Raises:
        ConfigurationError: when the file is not as expected, also while its rows are iterated, or pyarrow is not
            installed.
    """
    pa = _pyarrow()
    try:
        source = pa.parquet.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise invalid(name, "a Parquet file", _line(error)) from error
    columns = source.schema_arrow.names
    layout = of_header(columns, known)
    if not layout:
        raise unknown_columns(name, columns, known)
    owner = (source.schema_arrow.metadata or {}).get(_PLUGIN, plugin.encode()).decode()
    if owner != plugin:
        raise ConfigurationError(
            name, expected=f"rows of {plugin}", found=f"rows of {owner}", hint="name the plugin of the file"
        )
    rows = _Rows(pa, source, name, layout)
    return FileRows(name, layout, iter(rows), source.metadata.num_rows, lambda: rows.number)


class _Rows:
    """The rows of a file, and how many have been read."""

    def __init__(self, pa: Any, source: Any, name: str, layout: Layout) -> None:
        self._pa, self._source, self._name, self._layout = pa, source, name, layout
        self.number = 0

    def __iter__(self) -> Iterator[Any]:
        pa, layout = self._pa, self._layout
        try:
            for batch in self._source.iter_batches(_BATCH_ROWS, columns=layout.columns):
                # Files of other programs may have other types for the same values.
                table = pa.Table.from_batches([batch]).select(layout.columns).cast(_schema(pa, layout))
                for row in zip(*(_plain(pa, column) for column in table.columns), strict=True):
                    self.number += 1
                    yield converted(f"{self._name}, row {self.number}", layout, row)
        except (pa.ArrowException, OSError) as error:
            where = f"{self._name}, after row {self.number}"
            raise invalid(where, "the types of an export", _line(error)) from error


def _schema(pa: Any, layout: Layout) -> Any:
    return pa.schema(
        [
            (name, pa.timestamp("us", "UTC") if kind.parquet == "timestamp" else getattr(pa, kind.parquet)())
            for name, kind in layout.kinds.items()
        ]
    )


def _plain(pa: Any, column: Any) -> list[Any]:
    return list((column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist())


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
