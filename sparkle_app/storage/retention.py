"""The watermarks of retention: which rows of a plugin are kept, and which hours and days are merged.

A row that has been deleted must not come back, and an aggregate must not be replaced by one of the readings that are
left. Therefore the watermarks are advanced first, then rows are deleted or merged; and whoever stores readings or
aggregates reads the watermarks in the same transaction:

* ``watermarks(connection, plugin, bucket_size, lock=True)``, at the beginning of a transaction that writes. Until it
  ends, the watermarks do not change. Such transactions do not wait for each other. With several plugins, lock them in
  the order of their names.
* ``watermarks(connection, plugin, bucket_size)`` in a transaction that reads, from the same snapshot as the rows.
* ``advance(engine, plugin, resolution, ...)`` waits until the transactions that have read the old watermarks end. Rows
  are deleted, hours and days merged, after it returns.

A plugin whose methods store its rows elsewhere is no exception: the callers of its methods follow the watermarks.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from msgspec.structs import replace
from sqlalchemy import Connection, Engine, case, insert, select

from sparkle_app.model.buckets import bucket_start
from sparkle_app.model.retention import (
    DAY,
    HOUR,
    MAX_WINDOW,
    READINGS,
    Watermark,
    Watermarks,
    merged_resolutions,
)
from sparkle_app.model.time import from_seconds, span
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.dialects.portable import retried
from sparkle_app.storage.errors import repeated_on_lock_conflict
from sparkle_app.storage.host_queries import select_last_receipt
from sparkle_app.storage.models import RETENTION, SERIES

_MARKS = Watermark.__struct_fields__
_MAX_ATTEMPTS = 5
# Those who write wait for a transaction that waits for the exclusive lock.
_PAUSE_SECONDS = 0.2
# With a pause after each, and a second of waiting in it: servers end a transaction that is idle for 15 seconds.
_REBUILD_ATTEMPTS = 20
# Seconds without a reading after which no worker has a bucket in its table.
_MAX_PAUSE = 30 * DAY
T = TypeVar("T")


def watermarks(connection: Connection, plugin: str, bucket_size: int, *, lock: bool = False) -> Watermarks:
    """The watermarks of a plugin.

    Arguments:
        plugin: its NAME.
        bucket_size: that of the workers, seconds.
        lock: keep them from being advanced until the transaction ends, which must be one that writes.
    """
    if not lock:
        return Watermarks(bucket_size, _select(connection, plugin))
    _lock(connection, plugin, shared=True)
    known = _select(connection, plugin)
    if known.keys() != _resolutions(bucket_size):
        begin(connection, plugin, bucket_size)
        # What was locked may not have existed.
        _lock(connection, plugin, shared=True)
        known = _select(connection, plugin)
    return Watermarks(bucket_size, known)


def watermarks_to_rebuild(
    connection: Connection, plugin: str, bucket_size: int, starts: Iterable[int]
) -> Watermarks:
    """The watermarks of a plugin, locked by another than a worker that changes aggregates.

    Whoever else writes waits until the transaction ends: aggregates are compared or computed before they are deleted
    and stored, so what a worker stores in between would be lost. If workers may hold one of the buckets,
    :attr:`Watermarks.rebuilt_at` grows: otherwise a worker could replace the aggregate later by one that lacks readings
    of which there are no samples.

    Arguments:
        starts: of the buckets; none if only hours and days change.
    """
    lock_out_writers(connection, [plugin])
    marks = watermarks(connection, plugin, bucket_size, lock=True)
    now = from_seconds(time.time())
    last = select_last_receipt(connection, plugin, now)
    # The clock of this machine may be ahead: by days, and the bucket seems old; by years, and this would be for years.
    latest = now if last is None else min(now, last)
    now = min(now, latest + span(_MAX_PAUSE))
    # A day more than the longest window: clocks differ.
    recent = latest - span(MAX_WINDOW + DAY)
    if max(starts, default=recent - 1) >= recent:
        # Clocks differ, and may be set back.
        later = case((RETENTION.c.rebuilt_at < now, now), else_=RETENTION.c.rebuilt_at + 1)
        same = (RETENTION.c.plugin == plugin, RETENTION.c.resolution == READINGS)
        connection.execute(RETENTION.update().where(*same).values(rebuilt_at=later))
    return marks


def repeated_rebuild(transaction: Callable[[], T]) -> T:
    """The result of a transaction with :func:`watermarks_to_rebuild`, which is executed again after a lock conflict.

    Raises:
        DBAPIError: as :func:`repeated_on_lock_conflict`.
    """
    return repeated_on_lock_conflict(transaction, _REBUILD_ATTEMPTS, _PAUSE_SECONDS)


def begin(connection: Connection, plugin: str, bucket_size: int) -> None:
    """Create the watermarks of a plugin that do not exist yet, in a transaction that writes.

    After a change of the bucket size, those of the former size are replaced.
    """
    known = _select(connection, plugin)
    expected = _resolutions(bucket_size)
    rows = {resolution: Watermark() for resolution in sorted(expected - known.keys())}
    former = known.keys() - expected
    if known and known.keys() != expected:
        former_size = min(known.keys() - {READINGS})
        # An hour can be a bucket before, or after: then its watermarks exist already.
        incomplete = {bucket_size, former_size, *rows} & expected - {READINGS}
        for resolution in sorted(incomplete):
            if resolution in rows:
                rows[resolution] = Watermark(complete_since=_tomorrow())
            else:
                raise_complete_since(connection, plugin, resolution, _tomorrow())
        # Hours and days may be left of the time before: they are kept for longer than other buckets.
        if bucket_size in rows and bucket_size not in (HOUR, DAY):
            kept_since = max(known[each].kept_since for each in {former_size, *former})
            rows[bucket_size] = replace(rows[bucket_size], kept_since=kept_since)
    elif rows and _has_others(connection, bucket_size):
        rows[bucket_size] = Watermark(complete_since=_tomorrow())
    values = [
        {"plugin": plugin, "resolution": resolution, **{name: getattr(mark, name) for name in _MARKS}}
        for resolution, mark in rows.items()
    ]

    def create() -> None:
        existing = _select(connection, plugin)
        if new := [row for row in values if row["resolution"] not in existing]:
            connection.execute(insert(RETENTION), new)

    if rows:
        retried(connection, create)
    # Not without need: the locks of rows that are only looked at could lead to a deadlock in MySQL.
    if former:
        own = RETENTION.c.plugin == plugin
        connection.execute(RETENTION.delete().where(own, RETENTION.c.resolution.in_(sorted(former))))


def lock_out_writers(connection: Connection, plugins: Iterable[str]) -> None:
    """Wait for the transactions that write rows of some plugins, and have others wait until this one ends.

    Arguments:
        plugins: their NAMEs.
    """
    for plugin in sorted(plugins):
        _lock(connection, plugin, shared=False)


def raise_complete_since(connection: Connection, plugin: str, resolution: int, at: int) -> None:
    """Raise ``complete_since`` of watermarks that exist, in a transaction that writes; one that is later stays."""
    same = (RETENTION.c.plugin == plugin, RETENTION.c.resolution == resolution)
    statement = RETENTION.update().where(*same, RETENTION.c.complete_since < at)
    connection.execute(statement.values(complete_since=at))


def advance(
    engine: Engine,
    plugin: str,
    resolution: int,
    *,
    kept_since: int = 0,
    deleted_until: int = 0,
    merging_until: int = 0,
    merged_until: int = 0,
) -> None:
    """Advance watermarks that exist, in a transaction of its own. Those that are later already stay.

    Arguments:
        kept_since, deleted_until, merging_until, merged_until: as of :class:`Watermark`; 0 changes nothing.

    Raises:
        SQLAlchemyError: when the database does not work at this moment. Nothing has changed then.
    """
    marks = {
        "kept_since": kept_since,
        "deleted_until": deleted_until,
        "merging_until": merging_until,
        "merged_until": merged_until,
    }
    repeated_on_lock_conflict(
        lambda: _advance(engine, plugin, resolution, marks), _MAX_ATTEMPTS, _PAUSE_SECONDS
    )


def _advance(engine: Engine, plugin: str, resolution: int, marks: Mapping[str, int]) -> None:
    with engine.begin() as connection:
        _lock(connection, plugin, shared=False)
        for name, at in marks.items():
            mark = RETENTION.c[name]
            same = (RETENTION.c.plugin == plugin, RETENTION.c.resolution == resolution, mark < at)
            if at:
                connection.execute(RETENTION.update().where(*same).values({name: at}))


def _lock(connection: Connection, plugin: str, *, shared: bool) -> None:
    row = {"plugin": plugin, "resolution": READINGS}
    dialect_of(connection).lock_row(connection, RETENTION, row, shared=shared)


def _select(connection: Connection, plugin: str) -> Mapping[int, Watermark]:
    columns = (RETENTION.c[name] for name in _MARKS)
    statement = select(RETENTION.c.resolution, *columns).where(RETENTION.c.plugin == plugin)
    return {row[0]: Watermark(*row[1:]) for row in connection.execute(statement)}


def _has_others(connection: Connection, bucket_size: int) -> bool:
    """Whether there are aggregates of another size, of any plugin.

    They may be hours and days that were merged, or buckets of the time before there were watermarks, of this plugin as
    well. Nothing tells these apart, and for a new plugin that is not necessary: it is only looked at more closely.
    """
    found = set(connection.execute(select(SERIES.c.resolution).distinct()).scalars())
    return bool(found - {READINGS, bucket_size})


def _resolutions(bucket_size: int) -> set[int]:
    return {READINGS, bucket_size, *merged_resolutions(bucket_size)}


def _tomorrow() -> int:
    return bucket_start(from_seconds(time.time()), DAY) + span(DAY)
