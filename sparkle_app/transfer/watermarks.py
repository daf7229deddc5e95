"""Watermarks of two databases, one of which is copied to the other."""

from sqlalchemy import Engine

from sparkle_app.model.retention import Watermark, Watermarks
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.retention import advance, begin, raise_complete_since, watermarks


def copy_watermarks(source: Engine, target: Engine, plugin: str, bucket_size: int) -> None:
    """Advance the target's watermarks to those of the source; those that are later already stay.

    Not ``deleted_until``: rows that the source has deleted since they were copied still have to be deleted there.

    Arguments:
        plugin: its NAME.
        bucket_size: that of the workers, seconds.

    Raises:
        SQLAlchemyError: when a database does not work at this moment.
    """
    known = _read(source, plugin, bucket_size).known
    if not known:
        return
    with target.begin() as connection:
        begin(connection, plugin, bucket_size)
        for resolution, mark in known.items():
            raise_complete_since(connection, plugin, resolution, mark.complete_since)
    for resolution, mark in known.items():
        advance(
            target,
            plugin,
            resolution,
            kept_since=mark.kept_since,
            merging_until=mark.merging_until,
            merged_until=mark.merged_until,
        )


def common_watermarks(source: Engine, target: Engine, plugin: str, bucket_size: int) -> Watermarks:
    """What both databases keep of a plugin, and have merged."""
    one, other = (_read(each, plugin, bucket_size) for each in (source, target))
    return Watermarks(
        bucket_size,
        {each: _common(one[each], other[each]) for each in one.known.keys() | other.known.keys()},
    )


def _common(one: Watermark, other: Watermark) -> Watermark:
    return Watermark(
        complete_since=max(one.complete_since, other.complete_since),
        kept_since=max(one.kept_since, other.kept_since),
        deleted_until=min(one.deleted_until, other.deleted_until),
        merging_until=min(one.merging_until, other.merging_until),
        merged_until=min(one.merged_until, other.merged_until),
    )


def _read(engine: Engine, plugin: str, bucket_size: int) -> Watermarks:
    with read_transaction(engine) as connection:
        return watermarks(connection, plugin, bucket_size)
