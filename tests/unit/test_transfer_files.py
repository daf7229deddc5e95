"""CSV and Parquet files give back exactly what was written, and say what is wrong with others."""

import csv
import io
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Integer, Numeric
from sqlalchemy.orm import mapped_column

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.time import EARLIEST, LATEST
from sparkle_app.plugin_api import (
    JsonPlugin,
    JsonReadingsTable,
    Plugin,
    ReadingsTable,
    StringPlugin,
    StringReadingsTable,
)
from sparkle_app.transfer.csv_files import CsvWriter
from sparkle_app.transfer.importing import read_file
from sparkle_app.transfer.kinds import escape, unescape
from sparkle_app.transfer.layouts import AGGREGATES, READINGS, layouts
from sparkle_app.transfer.parquet_files import ParquetWriter
from tests.support.texts import is_complete


class NumberTable(ReadingsTable):
    __tablename__ = "transfer_numbers"


class TextTable(StringReadingsTable):
    __tablename__ = "transfer_texts"


class DocumentTable(JsonReadingsTable):
    __tablename__ = "transfer_documents"


class DecimalTable(ReadingsTable):
    __tablename__ = "transfer_decimals"
    value = mapped_column(Numeric(12, 3))


class IntegerTable(ReadingsTable):
    __tablename__ = "transfer_integers"
    value = mapped_column(Integer)


class OwnMethods(Plugin):
    """Its DataFrame says nothing about what it loads."""

    def load_readings(self, *arguments: Any, **options: Any) -> Any:
        raise NotImplementedError


def of_table(plugin: Plugin, table: type[ReadingsTable]) -> Plugin:
    plugin.DataFrame = table
    return plugin


# What a record may hold: any text without NUL and without lone surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
CELLS = TEXT | st.sampled_from("=+-@'\t\r\n＝＋－＠\"").flatmap(
    lambda first: TEXT.map(lambda rest: first + rest)
)
# A topic may have 249 bytes, a metric 255.
NAMES = CELLS.filter(lambda text: 0 < len(text.encode()) < 250)
TIMES = st.integers(EARLIEST, LATEST - 1)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | DOUBLES | st.text(st.characters(exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=5,
)
PLUGINS: dict[str, tuple[Plugin, st.SearchStrategy[Any]]] = {
    "number": (of_table(Plugin(), NumberTable), DOUBLES),
    "text": (of_table(StringPlugin(), TextTable), CELLS),
    "document": (of_table(JsonPlugin(), DocumentTable), DOCUMENTS),
    "decimal": (of_table(Plugin(), DecimalTable), st.decimals(allow_nan=False, allow_infinity=False)),
    "integer": (of_table(Plugin(), IntegerTable), st.integers(-(2**63), 2**63 - 1)),
    "own": (OwnMethods(), DOCUMENTS),
}
READING = StoredReading(
    bytes.fromhex("00112233445566778899aabbccddeeff"),
    7,
    "web-1",
    "core/0",
    21.5,
    1_795_000_000_000_001,
    1_795_000_000_000_000,
    True,
    "telemetry",
    3,
    41,
)


def readings(values: st.SearchStrategy[Any]) -> st.SearchStrategy[StoredReading]:
    return st.builds(
        StoredReading,
        id=st.binary(min_size=16, max_size=16),
        config_id=st.integers(0, 2**63 - 1),
        hostname=NAMES,
        key=NAMES,
        value=values,
        observed_at=TIMES,
        received_at=TIMES,
        clock_trusted=st.booleans(),
        topic=NAMES,
        partition=st.integers(0, 2**31 - 1),
        offset=st.integers(0, 2**63 - 1),
    )


@st.composite
def aggregates(draw: st.DrawFn) -> AggregateRow:
    size = draw(st.integers(1, 86_400))
    at = draw(TIMES.filter(lambda at: at // (size * 1_000_000) * (size * 1_000_000) >= EARLIEST))
    total = draw(st.floats(allow_nan=False))
    low, high, last = draw(DOUBLES), draw(DOUBLES), draw(DOUBLES)
    statistics = Statistics(draw(st.integers(1, 2**63 - 1)), total, low, high, last, at)
    return AggregateRow(draw(NAMES), draw(NAMES), size, at - at % (size * 1_000_000), statistics)


def written(plugin: Plugin, what: str, rows: list[Any], format_: str, *, pages: int = 1) -> bytes:
    """A file with these rows."""
    file, layout = io.BytesIO(), layouts("Test", plugin)[what]
    writer = CsvWriter(file, layout) if format_ == "csv" else ParquetWriter(file, layout, "Test")
    for page in range(pages):
        writer.write([layout.row_of(each) for each in rows[page::pages]])
    writer.close()
    return file.getvalue()


def read(tmp_path: Path, content: bytes, plugin: Plugin, name: str = "Test") -> tuple[str, list[Any]]:
    path = tmp_path / "file"
    path.write_bytes(content)
    with path.open("rb") as file:
        found = read_file(file, "file", name, plugin)
        rows = list(found.rows)
        assert found.position() == found.size > 0
        return found.layout.what, rows


def same(one: Any, other: Any) -> bool:
    """Equal, also in the sign of zero and in type."""
    return repr(one) == repr(other)


@pytest.mark.parametrize("format_", ["csv", "parquet"])
@pytest.mark.parametrize("kind", PLUGINS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_readings_are_the_same_when_they_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, kind: str, format_: str, data: st.DataObject
) -> None:
    plugin, values = PLUGINS[kind]
    # Parquet holds no empty page, and an export writes none.
    stored = data.draw(st.lists(readings(values).filter(is_short), min_size=1, max_size=4))
    content = written(plugin, READINGS, stored, format_)
    what, found = read(tmp_path_factory.mktemp("files"), content, plugin)
    assert what == READINGS
    assert [each.plugin for each in found] == ["Test"] * len(stored)
    assert same([each.as_stored() for each in found], stored)


def is_short(reading: StoredReading) -> bool:
    """As a record's names have to be."""
    return max(len(each.encode()) for each in (reading.hostname, reading.key, reading.topic)) < 250


@pytest.mark.parametrize("format_", ["csv", "parquet"])
@given(stored=st.lists(aggregates(), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_aggregates_are_the_same_when_they_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, format_: str, stored: list[AggregateRow]
) -> None:
    plugin, _ = PLUGINS["number"]
    content = written(plugin, AGGREGATES, stored, format_)
    what, found = read(tmp_path_factory.mktemp("files"), content, plugin)
    assert what == AGGREGATES
    assert same(found, stored)


@given(CELLS)
def test_no_text_is_a_formula(text: str) -> None:
    cell = escape(text)
    assert unescape(cell) == text
    assert not cell.startswith(tuple("=+-@\t\r\n＝＋－＠"))
    assert cell == text or cell == "'" + text


def test_numbers_are_not_escaped_and_cells_are_quoted_as_in_rfc_4180() -> None:
    plugin, _ = PLUGINS["number"]
    row = StoredReading(
        READING.id, 7, '=cmd|"/c calc"!A1', "a,b\r\nc", -0.1, READING.observed_at, EARLIEST, False, "+t", 0, 1
    )
    lines = written(plugin, READINGS, [row], "csv").split(b"\r\n", 1)
    assert lines[0].decode() == (
        "id,config_id,hostname,metric,value,observed_at,received_at,clock_trusted,topic,partition,offset"
    )
    assert lines[1].decode() == (
        '00112233445566778899aabbccddeeff,7,"\'=cmd|""/c calc""!A1","a,b\r\nc",-0.1,'
        "2026-11-18T11:06:40.000001Z,2000-01-01T00:00:00.000000Z,false,'+t,0,1\r\n"
    )


def test_a_document_is_never_a_formula() -> None:
    plugin, _ = PLUGINS["document"]
    for value in ("=1+1", "@x", {"=a": 1}, ["+1"], None, True):
        row = StoredReading(READING.id, 7, "h", "k", value, EARLIEST, EARLIEST, True, "t", 0, 1)
        (cells,) = list(csv.reader(io.StringIO(written(plugin, READINGS, [row], "csv").decode())))[1:]
        assert cells[4][0] not in "=+-@\t\r"


def test_parquet_has_native_types_and_names_the_plugin() -> None:
    plugin, _ = PLUGINS["number"]
    file = pq.ParquetFile(io.BytesIO(written(plugin, READINGS, [READING], "parquet")))
    types = {field.name: str(field.type) for field in file.schema_arrow}
    assert types["value"] == "double"
    assert types["observed_at"] == "timestamp[us, tz=UTC]"
    assert types["offset"] == "int64"
    assert file.schema_arrow.metadata[b"sparkle_m.plugin"] == b"Test"


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
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, changed(column, cell), PLUGINS["number"][0])
    assert caught.value.where == f"file, line 3, column {column}"
    assert expected in caught.value.expected
    assert is_complete(caught.value)
    assert len(caught.value.found) <= 110


HEADER = written(PLUGINS["number"][0], READINGS, [], "csv")
LINE = written(PLUGINS["number"][0], READINGS, [READING], "csv").removeprefix(HEADER)


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
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, content, PLUGINS["number"][0])
    assert caught.value.where == where
    assert expected in caught.value.expected
    assert is_complete(caught.value)


def test_a_file_that_another_program_has_saved_is_read(tmp_path: Path) -> None:
    """A byte order mark, other line ends, another order of columns, capitals, an offset, and an empty line."""
    plugin, _ = PLUGINS["number"]
    rows = list(csv.reader(io.StringIO((HEADER + LINE).decode())))
    rows[1][7], rows[1][5] = "TRUE", "2026-11-18T13:06:40.000001+02:00"
    text = "\n".join(",".join(reversed(row)) for row in rows) + "\n\n"
    _, found = read(tmp_path, b"\xef\xbb\xbf" + text.encode(), plugin)
    assert [each.as_stored() for each in found] == [READING]
    table = pq.read_table(io.BytesIO(written(plugin, READINGS, [READING], "parquet")))
    types = table.schema.set(5, pa.field("observed_at", pa.timestamp("ns", "Europe/Berlin")))
    types = types.set(2, pa.field("hostname", pa.large_string())).remove_metadata()
    other = io.BytesIO()
    pq.write_table(table.cast(types), other)
    _, found = read(tmp_path, other.getvalue(), plugin, "Another")
    assert [each.as_stored() for each in found] == [READING]


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
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, content, PLUGINS["number"][0])
    assert caught.value.where == where
    assert expected in caught.value.expected
    assert is_complete(caught.value)


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


def test_row_groups_of_parquet_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparkle_app.transfer.parquet_files._GROUP_ROWS", 6)
    content = written(PLUGINS["number"][0], READINGS, [READING] * 20, "parquet", pages=10)
    metadata = pq.ParquetFile(io.BytesIO(content)).metadata
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [6, 6, 6, 2]


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


def test_decimals_keep_their_digits(tmp_path: Path) -> None:
    plugin, _ = PLUGINS["decimal"]
    row = StoredReading(READING.id, 7, "h", "k", Decimal("-12.500"), EARLIEST, EARLIEST, True, "t", 0, 1)
    _, (found,) = read(tmp_path, written(plugin, READINGS, [row], "csv"), plugin)
    assert str(found.value) == "-12.500"
