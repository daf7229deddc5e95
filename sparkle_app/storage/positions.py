"""Up to which record readings are stored."""

from collections.abc import Iterator

from sqlalchemy import Connection, Table, func, select

from sparkle_app.model.time import micros
from sparkle_app.storage.readings import whole_rows


def select_newest(connection: Connection, table: Table) -> Iterator[tuple[str, int, int]]:
    """Topic, partition, and timestamp of the newest record of which a reading is stored, for each partition.

    Readings of hosts whose clock is not trusted are left out. The timestamp of their record may be decades ago; then
    that of its processing is stored, which may be hours later.
    """
    row = whole_rows(table).c
    statement = (
        select(row.topic, row.partition, func.max(row.received_at))
        .where(row.clock_trusted)
        .group_by(row.topic, row.partition)
    )
    for topic, partition, at in connection.execute(statement):
        yield topic, partition, micros(at)
