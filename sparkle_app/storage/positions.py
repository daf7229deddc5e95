"""Up to which record readings are stored."""

from collections.abc import Iterator

from sqlalchemy import Connection, Table, func, select

from sparkle_app.model.time import micros
from sparkle_app.storage.readings import whole_rows


def select_newest(connection: Connection, table: Table) -> Iterator[tuple[str, int, int, int]]:
    """Topic, partition, timestamp of the newest record of which a reading is stored, and the largest offset of one.

    In place of a timestamp that is decades ago, that of the processing is stored, which may be hours later.
    """
    row = whole_rows(table).c
    statement = select(row.topic, row.partition, func.max(row.received_at), func.max(row["offset"]))
    for topic, partition, at, offset in connection.execute(statement.group_by(row.topic, row.partition)):
        yield topic, partition, micros(at), int(offset)
