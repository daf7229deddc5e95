"""Pages of an export and batches of an import, on both databases, without commands."""

import random
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.engine import make_url

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.model.reading import Reading
from sparkle_app.model.time import EARLIEST, LATEST
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.plugin.legacy import LegacyPlugin
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.retention import advance, begin
from sparkle_app.transfer import importing, pages
from sparkle_app.transfer.importing import Importer
from sparkle_app.transfer.layouts import Rows, layouts
from sparkle_app.transfer.pages import AggregatePages, ReadingPages
from sparkle_app.transfer.rows import FileRows
from tests.support.rows import store
from tests.support.worker import PROJECT

MINUTE = 60_000_000
START = 1_795_000_020_000_000
SIZES = {"many": 37, "few": 3, "one": 1, "other": 12, "ten": 10, "Ten": 10}
"""Readings, or buckets, of each host; a page has ten rows."""

LEGACY = LegacyPlugin("Transfer legacy", lambda *_: None, 63)


@pytest.fixture
def plugin() -> Plugin:
    return load_plugins(PROJECT / "plugins").installed["Temperature"].plugin


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    store(database_url, [])
    engine = make_engine(make_url(database_url))
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_ROWS", 10)
    monkeypatch.setattr(pages, "_PAGE_HOSTS", 3)
    monkeypatch.setattr(pages, "_PAGE_BUCKETS", 4)
    monkeypatch.setattr(importing, "BATCH_ROWS", 7)
    monkeypatch.setattr(importing, "_MAX_LOADED", 20)


def own_methods(plugin: Plugin) -> Plugin:
    """A plugin that loads and stores by its own methods, and orders by time only."""

    class Own(type(plugin)):  # type: ignore[misc]
        def store_readings(self, *arguments: Any) -> Any:
            return Plugin.store_readings(self, *arguments)

        def load_readings(self, *arguments: Any, **limit: Any) -> Any:
            rows = list(Plugin.load_readings(self, *arguments))
            random.shuffle(rows)
            return sorted(rows, key=lambda row: row.observed_at)[: limit.get("limit")]

        def load_aggregates(self, *arguments: Any) -> Any:
            rows = list(Plugin.load_aggregates(self, *arguments))
            random.shuffle(rows)
            return sorted(rows, key=lambda row: row.bucket_start)

    own: Plugin = Own()
    return own


def reading(hostname: str, at: int) -> Reading:
    return Reading(
        id=uuid.uuid4().bytes,
        config_id=1,
        hostname=hostname,
        plugin="Temperature",
        key="core/0",
        value=1.5,
        observed_at=at,
        received_at=at,
        clock_trusted=True,
        topic="t",
        partition=0,
        offset=0,
    )


def readings() -> list[Reading]:
    # Many at the same time.
    return [reading(host, START + n // 4 * MINUTE) for host, size in SIZES.items() for n in range(size)]


def aggregates(count: int = 3) -> list[AggregateRow]:
    """With gaps."""
    return [
        AggregateRow(host, metric, 60, at, Statistics(count, 3.0, 1.0, 2.0, 2.0, at + 5))
        for host, size in SIZES.items()
        for metric in ("core/0", "ядро")
        for n in range(size)
        for at in [START + n * n * MINUTE]
    ]


def stored(engine: Engine, plugin: Plugin, what: str) -> list[Any]:
    table = (plugin.DataFrame if what == Rows.READINGS else plugin.Aggregates).__table__
    with engine.connect() as connection:
        return sorted(tuple(row) for row in connection.execute(select(table)))


def file_of(plugin: Plugin, what: str, rows: Sequence[Any]) -> FileRows:
    return FileRows("file", layouts("Temperature", plugin)[what], iter(rows), 0, lambda: 0)


def imported(importer: Importer, plugin: Plugin, what: str, rows: Sequence[Any]) -> tuple[int, int]:
    """How many rows were read, and inserted."""
    batches = list(importer.store(file_of(plugin, what, rows)))
    assert all(read <= 7 for read, _ in batches)
    return sum(read for read, _ in batches), sum(inserted for _, inserted in batches)


@pytest.mark.parametrize("own", [False, True], ids=["default methods", "own methods"])
def test_every_reading_is_on_one_page(engine: Engine, plugin: Plugin, own: bool) -> None:
    rows = readings()
    with engine.begin() as connection:
        plugin.store_readings(connection, rows)
    expected = sorted(
        (each.as_stored() for each in rows), key=lambda each: (each.hostname, each.observed_at, each.id)
    )
    half = own_methods(plugin) if own else plugin
    found = ReadingPages(half, engine, (), EARLIEST, LATEST)
    assert found.rows == len(rows)
    each_page = list(found)
    assert [each for page in each_page for each in page] == expected
    assert max(map(len, each_page)) == 10
    start, end = START + MINUTE, START + 3 * MINUTE
    some = [each for each in expected if each.hostname in ("many", "ten") and start <= each.observed_at < end]
    found = ReadingPages(half, engine, ("ten", "many", "none"), start, end)
    assert [each for page in found for each in page] == some
    assert set(found.hosts) == {"many", "ten"}


@pytest.mark.parametrize("own", [False, True], ids=["default methods", "own methods"])
def test_every_aggregate_is_on_one_page(engine: Engine, plugin: Plugin, own: bool) -> None:
    rows = aggregates()
    of_another_size = AggregateRow(
        "many", "core/0", 300, START - START % (300 * 1_000_000), rows[0].statistics
    )
    with engine.begin() as connection:
        plugin.store_aggregates(connection, [*rows, of_another_size])
    half = own_methods(plugin) if own else plugin
    found = list(AggregatePages(half, engine, 60, (), EARLIEST, LATEST))
    assert sorted([each for page in found for each in page], key=str) == sorted(rows, key=str)
    assert max(map(len, found)) <= 10
    names = [each.hostname for page in found for each in page]
    assert names == sorted(names)
    end = START + 30 * 30 * MINUTE
    some = [each for each in rows if each.hostname == "many" and START < each.bucket_start < end]
    found = list(AggregatePages(half, engine, 60, ("many", "none"), START + 1, end))
    assert sorted([each for page in found for each in page], key=str) == sorted(some, key=str)
    assert [list(page) for page in AggregatePages(half, engine, 300, (), EARLIEST, LATEST)] == [
        [of_another_size]
    ]


def test_what_arrives_during_an_export_takes_nothing_from_it(engine: Engine, plugin: Plugin) -> None:
    rows = readings()
    with engine.begin() as connection:
        plugin.store_readings(connection, rows)
    found: list[Any] = []
    for number, page in enumerate(ReadingPages(plugin, engine, (), EARLIEST, LATEST)):
        found += page
        arriving = [reading(host, START + n * MINUTE) for host in SIZES for n in (0, 5, 90)]
        with engine.begin() as connection:
            plugin.store_readings(connection, [*arriving, reading(f"new-{number}", START)])
    ids = [each.id for each in found]
    assert {each.id for each in rows} <= set(ids)
    assert len(ids) == len(set(ids))


def test_no_transaction_is_open_between_pages(engine: Engine, plugin: Plugin) -> None:
    rows, now_open = readings(), 0

    @event.listens_for(engine, "begin")
    def begun(_connection: Any) -> None:
        nonlocal now_open
        now_open += 1

    @event.listens_for(engine, "rollback")
    @event.listens_for(engine, "commit")
    def ended(_connection: Any) -> None:
        nonlocal now_open
        now_open -= 1

    with engine.begin() as connection:
        plugin.store_readings(connection, rows)
        plugin.store_aggregates(connection, aggregates())
    for source in (
        ReadingPages(plugin, engine, (), EARLIEST, LATEST),
        AggregatePages(plugin, engine, 60, (), EARLIEST, LATEST),
    ):
        for _ in source:
            assert now_open == 0
            if engine.name == "sqlite":
                with engine.begin() as connection:
                    plugin.store_readings(connection, [reading("zzz", START)])
                # The WAL can be emptied: nobody reads an older version of the database.
                with closing(sqlite3.connect(str(engine.url.database))) as other:
                    ((busy, *_),) = other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    assert busy == 0


@pytest.mark.parametrize("own", [False, True], ids=["default methods", "own methods"])
def test_an_import_inserts_what_is_not_stored(engine: Engine, plugin: Plugin, own: bool) -> None:
    rows = readings()
    half = own_methods(plugin) if own else plugin
    importer = Importer("Temperature", half, engine, 60)
    with engine.begin() as connection:
        plugin.store_readings(connection, rows[5:9])
    # Twice in one batch, and again in another.
    file = [rows[0], *rows, rows[1]]
    assert imported(importer, half, Rows.READINGS, file) == (len(rows) + 2, len(rows) - 4)
    before = stored(engine, plugin, Rows.READINGS)
    assert len(before) == len(rows)
    assert imported(importer, half, Rows.READINGS, file) == (len(rows) + 2, 0)
    assert stored(engine, plugin, Rows.READINGS) == before


@pytest.mark.parametrize("own", [False, True], ids=["default methods", "own methods"])
def test_what_is_older_than_retention_keeps_it_is_not_imported(
    engine: Engine, plugin: Plugin, own: bool
) -> None:
    half = own_methods(plugin) if own else plugin
    rows = sorted(readings(), key=lambda each: each.observed_at)
    with engine.begin() as connection:
        begin(connection, "Temperature", 60)
    middle = rows[len(rows) // 2].observed_at
    old = sum(each.observed_at < middle for each in rows)
    advance(engine, "Temperature", 0, kept_since=middle)
    importer = Importer("Temperature", half, engine, 60)
    assert imported(importer, half, Rows.READINGS, rows) == (len(rows), len(rows) - old)
    assert importer.expired == old > 0
    assert len(stored(engine, plugin, Rows.READINGS)) == len(rows) - old
    buckets = aggregates(3)
    last = max(row.bucket_start for row in buckets)
    advance(engine, "Temperature", 60, kept_since=last)
    importer = Importer("Temperature", half, engine, 60)
    kept = sum(row.bucket_start >= last for row in buckets)
    assert imported(importer, half, Rows.AGGREGATES, buckets) == (len(buckets), kept)
    assert importer.expired == len(buckets) - kept > 0
    # Aggregates of other sizes have a watermark of their own.
    hour = AggregateRow("many", "core/0", 3600, START - START % (3600 * 1_000_000), buckets[0].statistics)
    assert imported(importer, half, Rows.AGGREGATES, [hour]) == (1, 1)


@pytest.mark.parametrize("own", [False, True], ids=["default methods", "own methods"])
@pytest.mark.parametrize("order", ["file", "random"])
def test_imported_aggregates_only_grow(engine: Engine, plugin: Plugin, own: bool, order: str) -> None:
    half = own_methods(plugin) if own else plugin
    importer = Importer("Temperature", half, engine, 60)
    older, same, newer = aggregates(2), aggregates(3), aggregates(4)
    if order == "random":
        for rows in (older, same, newer):
            random.Random(3).shuffle(rows)
    with engine.begin() as connection:
        plugin.store_aggregates(connection, same[:50])
    assert imported(importer, half, Rows.AGGREGATES, same) == (len(same), len(same) - 50)
    before = stored(engine, plugin, Rows.AGGREGATES)
    assert len(before) == len(same)
    assert imported(importer, half, Rows.AGGREGATES, older) == (len(older), 0)
    assert imported(importer, half, Rows.AGGREGATES, same) == (len(same), 0)
    assert stored(engine, plugin, Rows.AGGREGATES) == before
    assert imported(importer, half, Rows.AGGREGATES, newer) == (len(newer), len(newer))
    assert {row[4] for row in stored(engine, plugin, Rows.AGGREGATES)} == {4}
    # Of two rows of one aggregate, the one that has counted more is stored, whichever is first.
    largest = aggregates(5)[:1]
    assert imported(importer, half, Rows.AGGREGATES, [*largest, newer[0], *older[:1]])[1] == 1
    # A bucket size is a part of the key.
    hours = [AggregateRow("many", "core/0", 3600, START - START % (3600 * 1_000_000), newer[0].statistics)]
    assert imported(importer, half, Rows.AGGREGATES, [*hours, *newer])[1] == 1


def test_few_other_aggregates_are_loaded_to_find_the_known_ones(engine: Engine, plugin: Plugin) -> None:
    loaded: list[int] = []

    class Counting(type(plugin)):  # type: ignore[misc]
        def load_aggregates(self, *arguments: Any) -> Any:
            rows = list(Plugin.load_aggregates(self, *arguments))
            loaded.append(len(rows))
            return rows

    rows = aggregates()
    importer = Importer("Temperature", Counting(), engine, 60)
    random.Random(4).shuffle(rows)
    imported(importer, plugin, Rows.AGGREGATES, rows)
    loaded.clear()
    assert imported(importer, plugin, Rows.AGGREGATES, rows)[1] == 0
    assert max(loaded) <= 20


def test_a_package_for_the_earlier_handler_takes_aggregates_only(engine: Engine) -> None:
    data_table(LEGACY.Aggregates.__table__).create(engine)
    assert imported(Importer("Legacy", LEGACY, engine, 60), LEGACY, Rows.AGGREGATES, aggregates()[:1]) == (
        1,
        1,
    )
    with pytest.raises(ConfigurationError, match="the earlier handler"):
        imported(Importer("Legacy", LEGACY, engine, 60), LEGACY, Rows.READINGS, readings()[:1])
