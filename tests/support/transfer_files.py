"""Plugins with every kind of value, and files with their readings."""

import io
from enum import Enum
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import Boolean, Date, DateTime, Integer, LargeBinary, Numeric, Time, Uuid
from sqlalchemy import Enum as EnumType
from sqlalchemy.orm import mapped_column

from sparkle_app.model.reading import StoredReading
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
from sparkle_app.transfer.layouts import Rows, layouts
from sparkle_app.transfer.parquet_files import ParquetWriter


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


class Colour(Enum):
    RED = 1
    GREEN = 2


def once(at: Any) -> Any:
    """A local time without the mark of its second occurrence, which no database stores."""
    return at.replace(fold=0)


OTHERS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "moment": (DateTime, st.datetimes().map(once)),
    "date": (Date, st.dates()),
    "time": (Time, st.times().map(once)),
    "uuid": (Uuid, st.uuids()),
    "bytes": (LargeBinary, st.binary()),
    "flag": (Boolean, st.booleans()),
    "enumeration": (EnumType(Colour), st.sampled_from(Colour)),
}
"""Other types of the column `value`."""


def table_of(name: str, type_: Any) -> type[ReadingsTable]:
    columns = {"__tablename__": f"transfer_{name}", "value": mapped_column(type_)}
    return type(f"Table{name}", (ReadingsTable,), {"__module__": __name__, **columns})


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
    **{name: (of_table(Plugin(), table_of(name, type_)), values) for name, (type_, values) in OTHERS.items()},
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


def written(plugin: Plugin, what: str, rows: list[Any], format_: str, *, pages: int = 1) -> bytes:
    """A file with these rows."""
    file, layout = io.BytesIO(), layouts("Test", plugin)[what]
    writer = CsvWriter(file, layout) if format_ == "csv" else ParquetWriter(file, layout, "Test")
    for page in range(pages):
        writer.write([layout.row_of(each) for each in rows[page::pages]])
    writer.close()
    return file.getvalue()


def read(tmp_path: Path, content: bytes, plugin: Plugin, name: str = "Test") -> tuple[str, list[Any]]:
    """What the file contains, and its rows."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with path.open("rb") as file:
        found = read_file(file, "file", name, plugin)
        rows = list(found.rows)
        assert found.position() == found.size > 0
        return found.layout.what, rows


HEADER = written(PLUGINS["number"][0], Rows.READINGS, [], "csv")
LINE = written(PLUGINS["number"][0], Rows.READINGS, [READING], "csv").removeprefix(HEADER)
