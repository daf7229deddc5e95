"""Stores rows of files through a plugin. What is stored already remains: a file can be imported repeatedly.

What retention has deleted, or would delete, is not stored. Hours and days that were merged already are merged again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from io import BufferedReader
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Engine

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.model.reading import Reading
from sparkle_app.model.retention import READINGS, Watermarks
from sparkle_app.model.time import span
from sparkle_app.plugin.default_tables import stores_default_readings
from sparkle_app.plugin.legacy import LegacyPlugin
from sparkle_app.plugin.merging import merge_again
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.readings import select_ids
from sparkle_app.storage.retention import repeated_rebuild, watermarks, watermarks_to_rebuild
from sparkle_app.storage.statements import chunks
from sparkle_app.transfer import csv_files, parquet_files
from sparkle_app.transfer.layouts import Rows, layouts
from sparkle_app.transfer.rows import FileRows

BATCH_ROWS = 5_000
_MAX_LOADED = 20_000
"""How many aggregates one query may load, at most, to find those that are stored."""
_Key = tuple[int, str, str, int]
"""Of an aggregate: resolution, metric, hostname, and start of the bucket."""


def read_file(file: BufferedReader, name: str, plugin_name: str, plugin: Plugin) -> FileRows:
    """Read a CSV or Parquet file, which is recognized by its first bytes.

    Arguments:
        name: of the file, for errors.

    Raises:
        ConfigurationError: when the file is not as expected, also while its rows are iterated; it says where.
    """
    known = layouts(plugin_name, plugin)
    if file.peek(len(parquet_files.MAGIC)).startswith(parquet_files.MAGIC):
        return parquet_files.read(file, name, plugin_name, known)
    return csv_files.read(file, name, known)


class Importer:
    """Stores rows of one plugin.

    Arguments:
        name: NAME of the plugin.
        plugin: its server half.
        engine: the database.
        bucket_size: that of the workers, seconds.
    """

    def __init__(self, name: str, plugin: Plugin, engine: Engine, bucket_size: int) -> None:
        self._name, self._plugin, self._engine = name, plugin, engine
        self._bucket_size = bucket_size
        self.expired = 0
        """How many rows were not stored, because they have expired."""

    def store(self, file: FileRows) -> Iterator[tuple[int, int]]:
        """Store the rows of a file in batches, one transaction each; the number of rows, and of those inserted.

        The others have expired (:attr:`expired`), or are known: a reading with this id, or an aggregate that has
        counted at least as many readings.

        Raises:
            ConfigurationError: when the file is not as expected, or holds readings that only the plugin can store.
        """
        if file.layout.what == Rows.READINGS and isinstance(self._plugin, LegacyPlugin):
            raise ConfigurationError(
                file.name,
                expected="readings of a plugin for this handler",
                found="readings of a package for the earlier handler",
                hint="such a package stores the local time as well, which the file does not contain",
            )
        while batch := list(islice(file.rows, BATCH_ROWS)):
            yield len(batch), self.insert(file.layout.what, batch)

    def insert(self, what: Rows, rows: Sequence[Any]) -> int:
        """Store readings or aggregates in transactions of bounded size; returns how many of them are new."""
        return self._in_transactions(what, rows)

    def replace_aggregates(self, rows: Sequence[AggregateRow]) -> int:
        """Store aggregates, also in place of those that have counted more readings; returns how many differed."""
        return self._in_transactions(Rows.AGGREGATES, rows, replace=True)

    def _in_transactions(self, what: Rows, rows: Sequence[Any], *, replace: bool = False) -> int:
        batches = chunks(rows, BATCH_ROWS)
        return sum(repeated_rebuild(partial(self._insert, what, batch, replace)) for batch in batches)

    def _insert(self, what: Rows, batch: Sequence[Any], replace: bool) -> int:
        with self._engine.begin() as connection:
            if what == Rows.READINGS:
                marks = watermarks(connection, self._name, self._bucket_size, lock=True)
                kept = [row for row in batch if marks.keeps(READINGS, row.observed_at)]
                inserted = self._store_readings(connection, kept)
            else:
                starts = _starts(batch, self._bucket_size)
                marks = watermarks_to_rebuild(connection, self._name, self._bucket_size, starts)
                kept = [row for row in batch if marks.keeps(row.resolution, row.bucket_start)]
                store = self._replace_aggregates if replace else self._store_aggregates
                inserted = store(connection, marks, kept)
        self.expired += len(batch) - len(kept)
        return inserted

    def _store_readings(self, connection: Connection, batch: Sequence[Reading]) -> int:
        by_id = {reading.id: reading for reading in reversed(batch)}
        known = self._known_ids(connection, by_id)
        new = [reading for id_, reading in by_id.items() if id_ not in known]
        if new:
            self._plugin.store_readings(connection, new)
        return len(new)

    def _known_ids(self, connection: Connection, by_id: Mapping[bytes, Reading]) -> set[bytes]:
        if stores_default_readings(self._plugin):
            return select_ids(connection, self._plugin.DataFrame.__table__, list(by_id))
        known: set[bytes] = set()
        for hostname, times in _times_by_host(by_id.values()).items():
            stored = self._plugin.load_readings(connection, [hostname], min(times), max(times) + 1)
            known.update(reading.id for reading in stored if reading.id in by_id)
        return known

    def _store_aggregates(
        self, connection: Connection, marks: Watermarks, batch: Sequence[AggregateRow]
    ) -> int:
        by_key: dict[_Key, AggregateRow] = {}
        for row in batch:
            key = row.resolution, row.metric, row.hostname, row.bucket_start
            if key not in by_key or by_key[key].statistics.count < row.statistics.count:
                by_key[key] = row
        stored = self._stored(connection, by_key)
        new = [
            row
            for key, row in by_key.items()
            if key not in stored or row.statistics.count > stored[key].count
        ]
        if new:
            self._plugin.store_aggregates(connection, new)
            merge_again(self._plugin, connection, marks, new)
        return len(new)

    def _replace_aggregates(
        self, connection: Connection, _marks: Watermarks, rows: Sequence[AggregateRow]
    ) -> int:
        by_key = {(row.resolution, row.metric, row.hostname, row.bucket_start): row for row in rows}
        stored = self._stored(connection, by_key)
        changed = {key: row for key, row in by_key.items() if stored.get(key) != row.statistics}
        # An upsert would keep them.
        larger = [
            key for key, row in changed.items() if key in stored and stored[key].count > row.statistics.count
        ]
        for resolution, group in groupby(sorted(larger), itemgetter(0)):
            keys = [(hostname, start, metric) for _, metric, hostname, start in group]
            self._plugin.delete_aggregates(connection, resolution, keys)
        if changed:
            self._plugin.store_aggregates(connection, list(changed.values()))
        return len(changed)

    def _stored(self, connection: Connection, keys: Iterable[_Key]) -> dict[_Key, Statistics]:
        """The stored aggregates with these keys, among others."""
        found: dict[_Key, Statistics] = {}
        for (resolution, metric), group in groupby(sorted(keys), itemgetter(0, 1)):
            boxes = [list(group)]
            while boxes:
                box = boxes.pop()
                hostnames = sorted({key[2] for key in box})
                first, last = min(key[3] for key in box), max(key[3] for key in box)
                buckets = (last - first) // span(resolution) + 1
                if len(hostnames) * buckets > _MAX_LOADED and len(box) > 1:
                    half = len(box) // 2
                    boxes += box[:half], box[half:]
                    continue
                for row in self._plugin.load_aggregates(
                    connection, hostnames, metric, resolution, first, last + 1
                ):
                    found[resolution, metric, row.hostname, row.bucket_start] = row.statistics
        return found


def _starts(rows: Iterable[AggregateRow], bucket_size: int) -> list[int]:
    return [row.bucket_start for row in rows if row.resolution == bucket_size]


def _times_by_host(readings: Iterable[Reading]) -> dict[str, list[int]]:
    times: dict[str, list[int]] = {}
    for reading in readings:
        times.setdefault(reading.hostname, []).append(reading.observed_at)
    return times
