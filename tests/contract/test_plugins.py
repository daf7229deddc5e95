"""The contract of plugins. The tests run for every package in plugins/, including new ones.

One reading passes all stages: encrypt, decrypt, validate, store, load, aggregate.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from Crypto.PublicKey import RSA
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from demo.collector import make_record
from sparkle_app.envelope.keyring import Keyring
from sparkle_app.envelope.rsa import decrypt_each
from sparkle_app.ingest.decryption_pool import decrypt_readings
from sparkle_app.ingest.sql_writer import SqlWriter
from sparkle_app.model.buckets import Bucket, bucket_start, rows_of
from sparkle_app.model.record import Outcome, Record
from sparkle_app.model.sample import Sample
from sparkle_app.model.time import EARLIEST, LATEST, from_seconds
from sparkle_app.plugin.discovery import InstalledPlugin, load_plugins
from sparkle_app.plugin_api import Base, InvalidValue, Reading, StoredReading
from sparkle_app.storage.engine import make_engine, read_transaction
from sparkle_app.transfer.csv_files import CsvWriter
from sparkle_app.transfer.importing import Importer, read_file
from sparkle_app.transfer.layouts import Rows, layouts
from sparkle_app.transfer.pages import ReadingPages
from sparkle_app.transfer.parquet_files import ParquetWriter
from tests.support.keys import private_key_pem

PLUGINS = load_plugins(Path(__file__).parents[2] / "plugins")
KEY = RSA.import_key(private_key_pem())
MINUTE = 60_000_000
# Not valid for any sensor.
NEVER_VALID: list[object] = ["text", None, [], {"a": 1}, float("nan"), float("inf"), True]


@pytest.fixture(params=sorted(PLUGINS.installed))
def plugin(request: pytest.FixtureRequest) -> InstalledPlugin:
    return PLUGINS.installed[request.param]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = make_engine(make_url(f"sqlite:///{tmp_path}/db.sqlite3"))
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def has_numbers(plugin: InstalledPlugin) -> bool:
    """Whether the column of values is numeric."""
    return plugin.plugin.DataFrame.__table__.c.value.type.python_type is float


def valid_value(plugin: InstalledPlugin) -> Any:
    """A value within the plugin's bounds, one of its states, or a document."""
    if not has_numbers(plugin):
        candidates = (*getattr(plugin.plugin, "states", ()), "text", {"a": 1})
        for value in candidates:
            try:
                return plugin.plugin.validate("some/key 1", value)
            except InvalidValue:
                continue
        pytest.skip(f"no valid value of {plugin.name} is known: run try-plugin with some")
    low, high = plugin.plugin.minimum, plugin.plugin.maximum
    if math.isinf(low) or math.isinf(high):
        return 0 if low <= 0 <= high else (high if math.isinf(low) else low)
    return (low + high) / 2


def test_every_package_can_be_loaded() -> None:
    assert PLUGINS.installed
    assert PLUGINS.errors == []


def test_a_plugin_has_a_unit_a_description_and_two_tables(plugin: InstalledPlugin) -> None:
    assert plugin.plugin.unit or not has_numbers(plugin), "every HTTP response contains the unit"
    assert plugin.manifest.description, "gen-config shows the description"
    assert plugin.plugin.DataFrame.__tablename__ != plugin.plugin.Aggregates.__tablename__


def test_plugins_do_not_share_tables() -> None:
    names = [
        table.__tablename__
        for each in PLUGINS.installed.values()
        for table in (each.plugin.DataFrame, each.plugin.Aggregates)
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("value", NEVER_VALID)
def test_values_that_are_not_numbers_are_invalid(plugin: InstalledPlugin, value: Any) -> None:
    if not has_numbers(plugin):
        pytest.skip(f"values of {plugin.name} are not numbers")
    with pytest.raises(InvalidValue) as caught:
        plugin.plugin.validate("key", value)
    assert str(caught.value).startswith("expected")


def test_values_out_of_bounds_are_invalid(plugin: InstalledPlugin) -> None:
    for bound, step in ((plugin.plugin.minimum, -1), (plugin.plugin.maximum, 1)):
        if math.isfinite(bound):
            with pytest.raises(InvalidValue):
                plugin.plugin.validate("key", bound + step)
            assert plugin.plugin.validate("key", bound) == bound


def recording(numeric_value: Callable[[StoredReading], Any], seen: list[StoredReading]) -> Callable[..., Any]:
    """``numeric_value``, recording its arguments in ``seen``."""

    def recorded(reading: StoredReading) -> Any:
        seen.append(reading)
        return numeric_value(reading)

    return recorded


def test_a_reading_passes_all_stages(
    plugin: InstalledPlugin, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rsa_key_7").write_bytes(KEY.export_key())
    name, value = plugin.name, valid_value(plugin)
    now = datetime(2026, 11, 23, 12, 0, 30)
    at = from_seconds(now.timestamp())
    record = make_record(KEY.public_key(), 7, "a host", now, name, "some/key 1", value)
    records = [Record(plugin.manifest.topic, 0, 5, at, record)]

    # numeric_value is called with equal arguments when a reading is validated and when it is loaded.
    arguments: list[StoredReading] = []
    monkeypatch.setattr(plugin.plugin, "numeric_value", recording(plugin.plugin.numeric_value, arguments))

    async def process() -> tuple[list[Outcome], Any]:
        outcomes = decrypt_readings(records, Keyring(tmp_path), {name: plugin.plugin}, decrypt_each)
        with ThreadPoolExecutor() as executor:
            writer = SqlWriter(engine, {name: plugin.plugin}, executor, 2000, 60, time.time)
            first = await writer.store(outcomes)
            assert await writer.store(outcomes) == first
        return outcomes, first

    (outcome,), (by_plugin, rejected, expired) = asyncio.run(process())
    assert (rejected, expired, outcome.errors) == ([], [], [])
    stored = by_plugin[name]
    assert stored == [each.as_stored() for each in outcome.readings]
    start = bucket_start(stored[0].observed_at, 60)
    with read_transaction(engine) as connection:
        loaded = list(plugin.plugin.load_readings(connection, ["a host"], start, start + MINUTE))
        others = list(plugin.plugin.load_readings(connection, ["another host"], start, start + MINUTE))
        earlier = list(plugin.plugin.load_readings(connection, ["a host"], start - MINUTE, start))
    assert loaded == stored
    assert others == earlier == []

    bucket = Bucket()
    number = plugin.plugin.numeric_value(loaded[0])
    assert arguments == [*stored, *loaded]
    assert number is not None or not has_numbers(plugin)
    number = 1.5 if number is None else number
    bucket.add(Sample.of(loaded[0], number))
    rows = rows_of("a host", start, 60, bucket)
    for _ in range(2):
        with engine.begin() as connection:
            plugin.plugin.store_aggregates(connection, rows)
    with read_transaction(engine) as connection:
        found = list(
            plugin.plugin.load_aggregates(connection, ["a host"], "some/key 1", 60, start, start + MINUTE)
        )
    assert found == rows
    assert (found[0].statistics.count, found[0].statistics.sum) == (1, number)

    # delete_aggregates deletes one metric of a bucket, and no other.
    other = msgspec.structs.replace(rows[0], metric="another key")
    with engine.begin() as connection:
        plugin.plugin.store_aggregates(connection, [other])
        plugin.plugin.delete_aggregates(connection, 60, [("a host", start, "some/key 1")])
        remaining = list(
            plugin.plugin.load_aggregates(connection, ["a host"], None, 60, start, start + MINUTE)
        )
    assert remaining == [other]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_reading_is_the_same_after_export_and_import(
    plugin: InstalledPlugin, engine: Engine, tmp_path: Path, suffix: str
) -> None:
    name, at = plugin.name, from_seconds(datetime(2026, 11, 23, 12, 0, 30).timestamp())
    value = plugin.plugin.validate("=key 1", valid_value(plugin))
    reading = Reading(bytes(range(16)), 7, "@host", name, "=key 1", value, at, at, True, "t", 0, 5)
    with engine.begin() as connection:
        stored = list(plugin.plugin.store_readings(connection, [reading]))
    file, layout = tmp_path / f"readings.{suffix}", layouts(name, plugin.plugin)[Rows.READINGS]
    with file.open("wb") as output:
        writer = CsvWriter(output, layout) if suffix == "csv" else ParquetWriter(output, layout, name)
        for page in ReadingPages(plugin.plugin, engine, (), EARLIEST, LATEST):
            writer.write([layout.row_of(each) for each in page])
        writer.close()
    other = make_engine(make_url(f"sqlite:///{tmp_path}/other.sqlite3"))
    Base.metadata.create_all(other)
    importer = Importer(name, plugin.plugin, other, 60)
    for inserted in (1, 0):
        with file.open("rb") as source:
            assert list(importer.store(read_file(source, "file", name, plugin.plugin))) == [(1, inserted)]
    with read_transaction(other) as connection:
        found = list(plugin.plugin.load_readings(connection, ["@host"], at, at + 1))
    assert found == stored
    other.dispose()
