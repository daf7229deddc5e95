"""What every package in plugins/ must do; a new one is tried without a change here.

A reading goes the whole way of the library code: collect, encrypt, decrypt, validate, store, load, aggregate.
"""

import asyncio
import math
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
from sparkle_app.ingest.decryption_pool import decrypt_readings
from sparkle_app.ingest.sql_writer import SqlWriter
from sparkle_app.model.buckets import Bucket, bucket_start, rows_of
from sparkle_app.model.record import Outcome, Record
from sparkle_app.model.sample import Sample
from sparkle_app.model.time import from_seconds
from sparkle_app.plugin.discovery import InstalledPlugin, load_plugins
from sparkle_app.plugin_api import Base, InvalidValue, StoredReading
from sparkle_app.storage.engine import make_engine, read_transaction

FOUND = load_plugins(Path(__file__).parents[2] / "plugins")
KEY = RSA.generate(2048)
MINUTE = 60_000_000
# No sensor of any kind means these.
NEVER_VALID = ["text", None, [], {"a": 1}, float("nan"), float("inf"), True]


@pytest.fixture(params=sorted(FOUND.installed))
def plugin(request: pytest.FixtureRequest) -> InstalledPlugin:
    return FOUND.installed[request.param]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = make_engine(make_url(f"sqlite:///{tmp_path}/db.sqlite3"))
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def a_valid_value(plugin: InstalledPlugin) -> Any:
    """One that the plugin's own bounds allow."""
    low, high = plugin.plugin.minimum, plugin.plugin.maximum
    if math.isinf(low) or math.isinf(high):
        return 0 if low <= 0 <= high else (high if math.isinf(low) else low)
    return (low + high) / 2


def test_every_package_can_be_used() -> None:
    assert FOUND.installed
    assert FOUND.faults == []


def test_the_handler_half_says_what_it_is(plugin: InstalledPlugin) -> None:
    assert plugin.plugin.unit, "a unit is shown with every answer"
    assert plugin.manifest.description, "gen_config.py shows it"
    assert plugin.plugin.DataFrame.__tablename__ != plugin.plugin.Aggregates.__tablename__


def test_tables_are_the_plugins_own() -> None:
    names = [
        table.__tablename__
        for each in FOUND.installed.values()
        for table in (each.plugin.DataFrame, each.plugin.Aggregates)
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("value", NEVER_VALID)
def test_what_is_no_reading_is_refused(plugin: InstalledPlugin, value: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        plugin.plugin.validate("key", value)
    assert str(caught.value).startswith("expected")


def test_values_out_of_bounds_are_refused(plugin: InstalledPlugin) -> None:
    for bound, step in ((plugin.plugin.minimum, -1), (plugin.plugin.maximum, 1)):
        if math.isfinite(bound):
            with pytest.raises(InvalidValue):
                plugin.plugin.validate("key", bound + step)
            assert plugin.plugin.validate("key", bound) == bound


def recording(numeric_value: Callable[[StoredReading], Any], seen: list[StoredReading]) -> Callable[..., Any]:
    """``numeric_value``, with what it is given noted."""

    def recorded(reading: StoredReading) -> Any:
        seen.append(reading)
        return numeric_value(reading)

    return recorded


def test_a_reading_goes_the_whole_way(
    plugin: InstalledPlugin, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rsa_key_7").write_bytes(KEY.export_key())
    name, value = plugin.name, a_valid_value(plugin)
    now = datetime(2026, 11, 23, 12, 0, 30)
    at = from_seconds(now.timestamp())
    record = make_record(KEY.public_key(), 7, "a host", now, name, "some/key 1", value)
    records = [Record(plugin.manifest.topic, 0, 5, at, record)]

    # What is aggregated of a reading: asked for when it is validated, forwarded, and read again.
    measured: list[StoredReading] = []
    monkeypatch.setattr(plugin.plugin, "numeric_value", recording(plugin.plugin.numeric_value, measured))

    async def through() -> tuple[list[Outcome], Any]:
        outcomes = decrypt_readings(records, Keyring(tmp_path), {name: plugin.plugin})
        with ThreadPoolExecutor() as executor:
            store = SqlWriter(engine, {name: plugin.plugin}, executor)
            first = await store.store(outcomes)
            assert await store.store(outcomes) == first
        return outcomes, first

    (outcome,), (by_plugin, refused) = asyncio.run(through())
    assert (refused, outcome.errors) == ([], [])
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
    assert measured == [*stored, *loaded]
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

    # Of one bucket, the metric that is to be made anew and no other.
    other = msgspec.structs.replace(rows[0], metric="another key")
    with engine.begin() as connection:
        plugin.plugin.store_aggregates(connection, [other])
        plugin.plugin.delete_aggregates(connection, 60, [("a host", start, "some/key 1")])
        left = list(plugin.plugin.load_aggregates(connection, ["a host"], None, 60, start, start + MINUTE))
    assert left == [other]
