"""What is wrong with a CSV or Parquet file is said with line and column."""

import csv
import io
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.transfer.layouts import AGGREGATES, READINGS
from tests.support.texts import is_complete
from tests.support.transfer_files import HEADER, LINE, PLUGINS, READING, read, written


def refused(tmp_path: Path, content: bytes) -> ConfigurationError:
    """The error of a file with readings of numbers."""
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, content, PLUGINS["number"][0])
    assert is_complete(caught.value)
    return caught.value


def changed(column: str, cell: str) -> bytes:
    """A file with two readings, one cell of the second one changed."""
    plugin, _ = PLUGINS["number"]
    rows = list(csv.reader(io.StringIO(written(plugin, READINGS, [READING] * 2, "csv").decode())))
    rows[2][rows[0].index(column)] = cell
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("id", "12", "32 hexadecimal digits"),
        ("config_id", "7.0", "an integer from"),
        ("config_id", "9223372036854775808", "an integer from"),
        ("hostname", "", "1 to 1024 bytes"),
        ("hostname", "ä" * 513, "1 to 1024 bytes"),
        ("metric", "a\0b", "without NUL"),
        ("value", "hot", "a finite number"),
        ("value", "nan", "a finite number"),
        ("value", "inf", "a finite number"),
        ("value", "1_000", "a finite number"),
        ("observed_at", "2026-11-23 12:00:00", "a time such as"),
        ("observed_at", "yesterday", "a time such as"),
        ("received_at", "1999-12-31T23:59:59Z", "a time from 2000 to 2099"),
        ("clock_trusted", "1", "true or false"),
        ("partition", "-1", "an integer from 0"),
        ("offset", "x" * 500, "an integer from 0"),
    ],
)
def test_a_wrong_cell_is_reported_by_line_and_column(
    tmp_path: Path, column: str, cell: str, expected: str
) -> None:
    error = refused(tmp_path, changed(column, cell))
    assert error.where == f"file, line 3, column {column}"
    assert expected in error.expected
    assert len(error.found) <= 110


@pytest.mark.parametrize(
    ("content", "where", "expected"),
    [
        (b"", "file, line 1", "the columns of readings"),
        (b"a,b\r\n1,2\r\n", "file, line 1", "the columns of readings"),
        (HEADER.replace(b",offset", b""), "file, line 1", "the columns of readings"),
        (HEADER + LINE + b"1,2\r\n", "file, line 3", "11 cells"),
        (HEADER + LINE.replace(b"web-1", b'"a\r\nb\nc"') + b"1,2\r\n", "file, line 5", "11 cells"),
        (HEADER + LINE + LINE.replace(b"web-1", b'"web-1'), "file, line 3", "valid CSV (RFC 4180)"),
        (HEADER + LINE.replace(b"web-1", b'"web"-1'), "file, line 2", "valid CSV (RFC 4180)"),
        (HEADER + LINE.replace(b"web-1", b"web-\xff"), "file, line 1 or later", "UTF-8"),
        (b"PAR1 and more", "file", "a Parquet file"),
    ],
)
def test_a_file_that_is_no_export_is_refused(
    tmp_path: Path, content: bytes, where: str, expected: str
) -> None:
    error = refused(tmp_path, content)
    assert error.where == where
    assert expected in error.expected


def parquet(**columns: Any) -> bytes:
    """A file with a reading, in which some columns have other values."""
    table = pq.read_table(io.BytesIO(written(PLUGINS["number"][0], READINGS, [READING], "parquet")))
    for name, value in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array([value]))
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "where", "expected"),
    [
        (parquet(hostname=None), "file, row 1, column hostname", "a text"),
        (parquet(value=float("nan")), "file, row 1, column value", "a finite number"),
        (parquet(partition=-1), "file, row 1, column partition", "an integer from 0"),
        (parquet(clock_trusted="perhaps"), "file, after row 0", "the types of an export"),
        (parquet()[:-100], "file", "a Parquet file"),
    ],
)
def test_a_wrong_row_of_parquet_is_reported(
    tmp_path: Path, content: bytes, where: str, expected: str
) -> None:
    error = refused(tmp_path, content)
    assert error.where == where
    assert expected in error.expected


def test_parquet_of_another_plugin_is_refused(tmp_path: Path) -> None:
    plugin, _ = PLUGINS["number"]
    with pytest.raises(ConfigurationError, match="expected rows of Other, found rows of Test"):
        read(tmp_path, written(plugin, READINGS, [READING], "parquet"), plugin, "Other")


@pytest.mark.parametrize("kind", ["document", "decimal"])
def test_a_value_that_cannot_be_stored_is_refused(tmp_path: Path, kind: str) -> None:
    content = (HEADER + LINE).replace(b",21.5,", b",NaN,")
    with pytest.raises(ConfigurationError, match="file, line 2, column value: expected"):
        read(tmp_path, content, PLUGINS[kind][0])


def test_an_aggregate_outside_its_bucket_is_refused(tmp_path: Path) -> None:
    at = 1_795_000_020_000_000
    for start, last_at in ((at + 1, at + 1), (at, at + 60_000_000), (at, at - 1)):
        row = AggregateRow("h", "m", 60, start, Statistics(1, 1.0, 1.0, 1.0, 1.0, last_at))
        content = written(PLUGINS["number"][0], AGGREGATES, [row], "csv")
        with pytest.raises(ConfigurationError, match="file, line 2: expected bucket_start to be the start"):
            read(tmp_path, content, PLUGINS["number"][0])


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = parquet()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for attempt in (
        lambda: written(PLUGINS["number"][0], READINGS, [READING], "parquet"),
        lambda: read(tmp_path, content, PLUGINS["number"][0]),
    ):
        with pytest.raises(ConfigurationError) as caught:
            attempt()
        assert "install the extra parquet" in caught.value.hint
        assert is_complete(caught.value)
