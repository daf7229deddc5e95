"""Numbers that stand for names in the tables of readings and aggregates, which would repeat the names in each row.

They are looked up in each transaction, by the database itself if it can, and never cached: after a failover, or after a
backup was restored, a number could stand for another name.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Table, event, func, insert, select
from sqlalchemy.exc import IntegrityError

from sparkle_app.model.errors import TransientError
from sparkle_app.model.retention import READINGS
from sparkle_app.storage import columns
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.dialects.base import READ_ONLY
from sparkle_app.storage.dialects.portable import retried
from sparkle_app.storage.models import SERIES, SOURCES
from sparkle_app.storage.statements import MAX_IN_LIST, SERIES_KEY, chunks, name_key

_MAX_SEEN = 500_000
# Of a key, to save memory. A series that is taken for another one is noticed as missing.
_SEEN_BYTES = 8
Series = tuple[str, str]
"""Hostname and metric."""
Source = tuple[int, str, int, bool]
"""Config id, topic, partition, and whether the host's clock was right."""


class _SeenKeys:
    """The keys of series that committed transactions have created. That one is missing is noticed: see :func:`naming`.

    Forgotten after a rollback, in case the cause was a series that has disappeared.
    """

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[Engine, set[bytes]] = WeakKeyDictionary()

    def of(self, engine: Engine) -> set[bytes]:
        """The beginnings of the keys in the database of an engine."""
        seen = self._of.get(engine)
        if seen is None:
            seen = self._of.setdefault(engine, set())

            @event.listens_for(engine, "rollback")
            def forget(connection: Connection) -> None:
                if READ_ONLY not in connection.get_execution_options():
                    seen.clear()

        if len(seen) > _MAX_SEEN:
            seen.clear()
        return seen


_SEEN = _SeenKeys()
_INSERTED: WeakKeyDictionary[Connection, set[bytes]] = WeakKeyDictionary()
"""The keys that a connection has inserted: until it commits, others do not see them."""


@contextmanager
def naming(
    connection: Connection, table: Table, names: Collection[Series], resolution: int
) -> Iterator[tuple[str, Mapping[Series, Any]]]:
    """The name and the values of the column with the series in rows of :meth:`Dialect.insert_new`, and its like.

    Series that do not exist are created.

    Raises:
        TransientError: if a row is inserted inside whose series has disappeared, as after a failover.
    """
    dialect = dialect_of(connection)
    if not (dialect.resolves_series and columns.are_plain(table)):
        yield "series_id", create_series(connection, names, resolution)
        return
    keys = {name: series_key(*name, resolution) for name in names}
    seen = _SEEN.of(connection.engine)
    if new := {name: key for name, key in keys.items() if key[:_SEEN_BYTES] not in seen}:
        found = _find(connection, SERIES, new.values())
        if len(found) < len(new):
            create_series(connection, [name for name, key in new.items() if key not in found], resolution)
        own = _INSERTED.get(connection, ())
        seen.update(key[:_SEEN_BYTES] for key in found if key not in own)
    native_id = dialect.converters(SERIES)[1]
    try:
        yield SERIES_KEY, {name: native_id(key) for name, key in keys.items()}
    except IntegrityError as error:
        if not dialect.is_null_error(error.orig, "series_id"):
            raise
        raise TransientError(f"database: the name of a series is missing in {SERIES.name}") from error


def find_series(connection: Connection, names: Collection[Series], resolution: int) -> dict[Series, int]:
    """The ids of those series that exist."""
    by_key = {series_key(*name, resolution): name for name in names}
    return {by_key[key]: id_ for key, id_ in _find(connection, SERIES, by_key).items()}


def create_series(connection: Connection, names: Collection[Series], resolution: int) -> dict[Series, int]:
    """The ids of these series, which are created if they do not exist."""
    rows: dict[bytes, dict[str, Any]] = {
        series_key(hostname, metric, resolution): {
            "hostname": hostname,
            "metric": metric,
            "resolution": resolution,
        }
        for hostname, metric in names
    }
    ids = _create(connection, SERIES, rows)
    return {(row["hostname"], row["metric"]): ids[key] for key, row in rows.items()}


def hosts_with_more_series(connection: Connection, hostnames: Collection[str], number: int) -> set[str]:
    """Those of the hosts that have ever had readings of more than this number of metrics, of all plugins together."""
    host = SERIES.c.hostname
    return {
        hostname
        for some in chunks(list(hostnames), MAX_IN_LIST)
        for hostname in connection.execute(
            select(host)
            .where(host.in_(some), SERIES.c.resolution == READINGS)
            .group_by(host)
            .having(func.count() > number)
        ).scalars()
    }


def create_sources(connection: Connection, sources: Collection[Source]) -> dict[Source, int]:
    """The ids of these sources, which are created if they do not exist."""
    columns = ("config_id", "topic", "partition", "clock_trusted")
    by_key = {source_key(*source): source for source in sources}
    rows = {key: dict(zip(columns, source, strict=True)) for key, source in by_key.items()}
    ids = _create(connection, SOURCES, rows)
    return {source: ids[key] for key, source in by_key.items()}


@lru_cache(65_536)
def series_key(hostname: str, metric: str, resolution: int) -> bytes:
    """The key of a series, the same in all versions."""
    return name_key(f"{len(hostname)}:{hostname}{metric}:{resolution}")


def source_key(config_id: int, topic: str, partition: int, clock_trusted: bool) -> bytes:
    """As :func:`series_key`."""
    return name_key(f"{topic}:{partition}:{config_id}:{int(clock_trusted)}")


def _create(
    connection: Connection, table: Table, rows: Mapping[bytes, Mapping[str, Any]]
) -> dict[bytes, int]:
    found = _find(connection, table, rows)
    if len(found) < len(rows):
        # In sorted order, so that two workers cannot deadlock.
        missing = sorted(rows.keys() - found.keys())
        insert_missing = partial(_insert, connection, table, rows, missing)
        try:
            found |= retried(connection, insert_missing)
        except IntegrityError:
            # A logical replica that was promoted has the rows, but not the sequence of their ids.
            dialect_of(connection).continue_keys(connection, table)
            try:
                found |= retried(connection, insert_missing)
            except IntegrityError as error:
                if any(value is None for row in rows.values() for value in row.values()):
                    raise
                # No row is at fault.
                raise TransientError(
                    f"database: {table.name}: expected unused ids from the primary key's sequence, found ids that are"
                    " already in use; restart the sequence above the maximum id"
                ) from error
    return found


def _insert(
    connection: Connection, table: Table, rows: Mapping[bytes, Mapping[str, Any]], missing: Collection[bytes]
) -> dict[bytes, int]:
    # Another worker may have inserted some since.
    found = _find(connection, table, missing)
    if new := [{"key": key, **rows[key]} for key in missing if key not in found]:
        _INSERTED.setdefault(connection, set()).update(row["key"] for row in new)
        connection.execute(insert(table), new)
    return _find(connection, table, missing)


def _find(connection: Connection, table: Table, keys: Collection[bytes]) -> dict[bytes, int]:
    return {
        key: id_
        for some in chunks(list(keys), MAX_IN_LIST)
        for key, id_ in connection.execute(select(table.c.key, table.c.id).where(table.c.key.in_(some)))
    }
