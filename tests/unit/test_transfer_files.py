"""CSV and Parquet files give back exactly what was written."""

import csv
import io
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.time import EARLIEST, LATEST
from sparkle_app.transfer.kinds import escape, unescape
from sparkle_app.transfer.layouts import Rows
from tests.support.transfer_files import CELLS, DOUBLES, HEADER, LINE, PLUGINS, READING, read, written

# A topic may have 249 bytes, a metric 255.
NAMES = CELLS.filter(lambda text: 0 < len(text.encode()) < 250)
TIMES = st.integers(EARLIEST, LATEST - 1)


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
    size = draw(st.integers(2, 3600) | st.just(86_400))
    width = size * 1_000_000
    start = draw(st.integers(-(-EARLIEST // width), LATEST // width - 1)) * width
    values = draw(st.lists(st.tuples(DOUBLES, st.integers(start, start + width - 1)), min_size=1))
    statistics = Statistics.of(*values[0])
    for value, at in values[1:]:
        statistics.add(value, at)
    return AggregateRow(draw(NAMES), draw(NAMES), size, start, statistics.as_row())


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
    content = written(plugin, Rows.READINGS, stored, format_)
    what, found = read(tmp_path_factory.mktemp("files"), content, plugin)
    assert what == Rows.READINGS
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
    content = written(plugin, Rows.AGGREGATES, stored, format_)
    what, found = read(tmp_path_factory.mktemp("files"), content, plugin)
    assert what == Rows.AGGREGATES
    assert same(found, stored)


@given(CELLS)
def test_no_text_is_a_formula(text: str) -> None:
    cell = escape(text)
    assert unescape(cell) == text
    assert not cell.startswith(tuple("=+-@\t\r\n＝＋－＠"))
    # However a spreadsheet separates cells.
    assert not [part for part in re.split("[;\t\r\n]", cell) if part.startswith(tuple("=+-@＝＋－＠"))]
    if not re.search("[;\t\r\n]", text):
        assert cell in (text, "'" + text)


@given(st.text(alphabet=";\t\r\n'\"=+x"))
def test_marks_within_a_text_can_be_removed_again(text: str) -> None:
    assert unescape(escape(text)) == text


def test_a_formula_after_a_semicolon_is_marked() -> None:
    assert escape("a;=HYPERLINK(A1);b") == "a;'=HYPERLINK(A1);b"
    assert escape("=a\n=b;'c;d") == "'=a\n'=b;''c;d"
    # The quote is doubled in the file: an empty cell in quotes, then the formula.
    assert escape('a;"=1+1;"') == "a;'\"=1+1;'\""
    assert escape("a;b\r\nc") == "a;b\r\nc"


def test_numbers_are_not_escaped_and_cells_are_quoted_as_in_rfc_4180() -> None:
    plugin, _ = PLUGINS["number"]
    row = StoredReading(
        READING.id, 7, '=cmd|"/c calc"!A1', "a,b\r\nc", -0.1, READING.observed_at, EARLIEST, False, "+t", 0, 1
    )
    lines = written(plugin, Rows.READINGS, [row], "csv").split(b"\r\n", 1)
    assert lines[0].decode() == (
        "id,config_id,hostname,metric,value,observed_at,received_at,clock_trusted,topic,partition,offset"
    )
    assert lines[1].decode() == (
        '00112233445566778899aabbccddeeff,7,"\'=cmd|""/c calc""!A1","a,b\r\nc",-0.1,'
        "2026-11-18T11:06:40.000001Z,2000-01-01T00:00:00.000000Z,false,'+t,0,1\r\n"
    )


def test_a_document_is_never_a_formula() -> None:
    plugin, _ = PLUGINS["document"]
    for value in ("=1+1", "@x", "\\;=1+1", {"a;+": ";@x"}, {"=a": 1}, ["+1"], None, True):
        row = StoredReading(READING.id, 7, "h", "k", value, EARLIEST, EARLIEST, True, "t", 0, 1)
        (cells,) = list(csv.reader(io.StringIO(written(plugin, Rows.READINGS, [row], "csv").decode())))[1:]
        assert cells[4][0] not in "=+-@\t\r"
        assert ";" not in cells[4]
        assert json.loads(cells[4]) == value


def test_parquet_has_native_types_and_names_the_plugin() -> None:
    plugin, _ = PLUGINS["number"]
    file = pq.ParquetFile(io.BytesIO(written(plugin, Rows.READINGS, [READING], "parquet")))
    types = {field.name: str(field.type) for field in file.schema_arrow}
    assert types["value"] == "double"
    assert types["observed_at"] == "timestamp[us, tz=UTC]"
    assert types["offset"] == "int64"
    assert file.schema_arrow.metadata[b"sparkle_m.plugin"] == b"Test"


def test_a_file_that_another_program_has_saved_is_read(tmp_path: Path) -> None:
    """A byte order mark, other line ends, another order of columns, capitals, an offset, and an empty line."""
    plugin, _ = PLUGINS["number"]
    rows = list(csv.reader(io.StringIO((HEADER + LINE).decode())))
    rows[1][7], rows[1][5] = "TRUE", "2026-11-18T13:06:40.000001+02:00"
    text = "\n".join(",".join(reversed(row)) for row in rows) + "\n\n"
    _, found = read(tmp_path, b"\xef\xbb\xbf" + text.encode(), plugin)
    assert [each.as_stored() for each in found] == [READING]
    table = pq.read_table(io.BytesIO(written(plugin, Rows.READINGS, [READING], "parquet")))
    types = table.schema.set(5, pa.field("observed_at", pa.timestamp("ns", "Europe/Berlin")))
    types = types.set(2, pa.field("hostname", pa.large_string())).remove_metadata()
    other = io.BytesIO()
    pq.write_table(table.cast(types), other)
    _, found = read(tmp_path, other.getvalue(), plugin, "Another")
    assert [each.as_stored() for each in found] == [READING]


def test_row_groups_of_parquet_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparkle_app.transfer.parquet_files._GROUP_ROWS", 6)
    content = written(PLUGINS["number"][0], Rows.READINGS, [READING] * 20, "parquet", pages=10)
    metadata = pq.ParquetFile(io.BytesIO(content)).metadata
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [6, 6, 6, 2]


def test_decimals_keep_their_digits(tmp_path: Path) -> None:
    plugin, _ = PLUGINS["decimal"]
    row = StoredReading(READING.id, 7, "h", "k", Decimal("-12.500"), EARLIEST, EARLIEST, True, "t", 0, 1)
    _, (found,) = read(tmp_path, written(plugin, Rows.READINGS, [row], "csv"), plugin)
    assert str(found.value) == "-12.500"
