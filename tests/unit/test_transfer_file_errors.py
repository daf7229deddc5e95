"""What is wrong with a CSV or Parquet file is said with line and column."""

import csv
import io
import math
import sys
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.transfer.layouts import Rows
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
    rows = list(csv.reader(io.StringIO(written(plugin, Rows.READINGS, [READING] * 2, "csv").decode())))
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
    table = pq.read_table(io.BytesIO(written(PLUGINS["number"][0], Rows.READINGS, [READING], "parquet")))
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
        read(tmp_path, written(plugin, Rows.READINGS, [READING], "parquet"), plugin, "Other")


@pytest.mark.parametrize("kind", ["document", "decimal"])
def test_a_value_that_cannot_be_stored_is_refused(tmp_path: Path, kind: str) -> None:
    content = (HEADER + LINE).replace(b",21.5,", b",NaN,")
    with pytest.raises(ConfigurationError, match="file, line 2, column value: expected"):
        read(tmp_path, content, PLUGINS[kind][0])


AT = 1_795_000_020_000_000
MOST = (2**31 - 1) * 60 // 86_400
"""Readings of a minute, so that a day of such minutes fits into the column."""


def aggregate(resolution: int = 60, start: int = AT, **fields: Any) -> AggregateRow:
    statistics = Statistics(3, 6.0, 1.0, 3.0, 2.0, AT + 5)
    return AggregateRow("h", "m", resolution, start, msgspec.structs.replace(statistics, **fields))


@pytest.mark.parametrize("format_", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [
        (aggregate(start=AT + 1, last_at=AT + 1), "bucket_start", "the start of a bucket of 60 s"),
        (aggregate(last_at=AT + 60_000_000), "last_at", "a time in the bucket"),
        (aggregate(last_at=AT - 1), "last_at", "a time in the bucket"),
        (aggregate(1), "resolution", "an integer from 2"),
        (aggregate(3601), "resolution", "2 to 3600 s, or 86400 s"),
        (aggregate(86_401), "resolution", "an integer from 2 to 86400"),
        (aggregate(count=0), "count", "an integer from 1"),
        (aggregate(count=2**63 - 1), "count", "an integer from 1 to 2147483647"),
        (aggregate(count=MOST + 1, sum=2.0 * MOST), "count", f"at most {MOST} readings in 60 s"),
        (aggregate(minimum=50.0), "minimum", "at most the maximum, 3.0"),
        (aggregate(last=0.5), "last", "from 1.0 to 3.0"),
        (aggregate(last=3.5), "last", "from 1.0 to 3.0"),
        (aggregate(sum=2.9), "sum", "from 3 times 1.0 to 3 times 3.0"),
        (aggregate(sum=9.0001), "sum", "from 3 times 1.0 to 3 times 3.0"),
        (aggregate(sum=math.inf), "sum", "from 3 times 1.0 to 3 times 3.0"),
        (aggregate(sum=-math.inf), "sum", "from 3 times 1.0 to 3 times 3.0"),
        (aggregate(sum=math.inf, minimum=-1e308, maximum=3.0), "sum", "from 3 times -1e+308 to 3 times 3.0"),
    ],
)
def test_an_aggregate_that_cannot_be_one_is_refused(
    tmp_path: Path, row: AggregateRow, column: str, expected: str, format_: str
) -> None:
    plugin, _ = PLUGINS["number"]
    content = written(plugin, Rows.AGGREGATES, [aggregate(), row], format_)
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, content, plugin)
    assert is_complete(caught.value)
    place = "line 3" if format_ == "csv" else "row 2"
    assert caught.value.where == f"file, {place}, column {column}"
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    "row",
    [
        aggregate(count=MOST, sum=2.0 * MOST),
        aggregate(86_400, AT - AT % 86_400_000_000, count=2**31 - 1, sum=2.0**32),
        # Sums of equal values, rounded a thousand times.
        aggregate(count=1000, sum=sum([0.1] * 1000), minimum=0.1, maximum=0.1, last=0.1),
        aggregate(sum=math.inf, minimum=1e308, maximum=1e308, last=1e308),
        aggregate(sum=-math.inf, minimum=-1.7e308, maximum=1e308, last=1e308),
        aggregate(count=2, sum=1e-323, minimum=5e-324, maximum=5e-324, last=5e-324),
    ],
)
def test_an_unusual_aggregate_is_read(tmp_path: Path, row: AggregateRow) -> None:
    plugin, _ = PLUGINS["number"]
    assert read(tmp_path, written(plugin, Rows.AGGREGATES, [row], "csv"), plugin) == (Rows.AGGREGATES, [row])


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = parquet()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for attempt in (
        lambda: written(PLUGINS["number"][0], Rows.READINGS, [READING], "parquet"),
        lambda: read(tmp_path, content, PLUGINS["number"][0]),
    ):
        with pytest.raises(ConfigurationError) as caught:
            attempt()
        assert "install the extra parquet" in caught.value.hint
        assert is_complete(caught.value)
