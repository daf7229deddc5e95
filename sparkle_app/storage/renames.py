"""Statements that give the stored readings and aggregates of a host to another name.

The series of the host are renamed where the other name has none; otherwise its rows move to the series of the other
name. Series stay even without rows: a row that is being inserted may refer to them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Table, bindparam, func, select

from sparkle_app.model.host_activity import united
from sparkle_app.model.retention import READINGS
from sparkle_app.model.time import span
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.hosts import Host, activity_of, columns_of, host_id
from sparkle_app.storage.models import SERIES
from sparkle_app.storage.names import series_key

_HOSTS = Host.__table__


class CommonSeries(NamedTuple):
    """A metric and resolution of which both hosts have a series."""

    metric: str
    resolution: int
    old: int
    """Id of the series of the host whose rows move."""
    new: int


def common_series(connection: Connection, old: str, new: str) -> list[CommonSeries]:
    """The series that both hosts have."""
    one, other = SERIES.alias("one"), SERIES.alias("other")
    statement = (
        select(one.c.metric, one.c.resolution, one.c.id, other.c.id)
        .join(other, (other.c.metric == one.c.metric) & (other.c.resolution == one.c.resolution))
        .where(one.c.hostname == old, other.c.hostname == new)
        .order_by(one.c.id)
    )
    return [CommonSeries(*row) for row in connection.execute(statement)]


def count_host_rows(connection: Connection, table: Table, hostname: str) -> int:
    """The number of a host's rows in a table of readings or of aggregates."""
    data = data_table(table)
    rows = select(func.count()).select_from(data.join(SERIES, SERIES.c.id == data.c.series_id))
    return int(connection.execute(rows.where(SERIES.c.hostname == hostname)).scalar() or 0)


def common_buckets(connection: Connection, table: Table, series: CommonSeries) -> Sequence[int]:
    """The starts of the buckets of which both hosts have an aggregate, microseconds since the epoch, in order."""
    data = data_table(table)
    other = data.alias("other")
    statement = (
        select(data.c.bucket)
        .join(other, other.c.bucket == data.c.bucket)
        .where(data.c.series_id == series.old, other.c.series_id == series.new)
        .order_by(data.c.bucket)
    )
    return [bucket * span(series.resolution) for bucket in connection.execute(statement).scalars()]


def move_rows(connection: Connection, table: Table, series: Sequence[CommonSeries]) -> None:
    """Move the rows of a table of readings or of aggregates to the series of the other host.

    There must be no aggregates of common buckets.
    """
    data = data_table(table)
    of_readings = "observed_at" in data.c
    pairs = [
        {"old_id": each.old, "new_id": each.new}
        for each in series
        if (each.resolution == READINGS) == of_readings
    ]
    if pairs:
        statement = data.update().where(data.c.series_id == bindparam("old_id"))
        connection.execute(statement.values(series_id=bindparam("new_id")), pairs)


def rename_series(connection: Connection, old: str, new: str) -> None:
    """Rename the series of a host, except those that the other name has already."""
    common = {each.old for each in common_series(connection, old, new)}
    own = select(SERIES.c.id, SERIES.c.metric, SERIES.c.resolution).where(SERIES.c.hostname == old)
    rows = [
        {"own_id": id_, "new_key": series_key(new, metric, resolution), "new_name": new}
        for id_, metric, resolution in connection.execute(own)
        if id_ not in common
    ]
    if rows:
        statement = SERIES.update().where(SERIES.c.id == bindparam("own_id"))
        connection.execute(statement.values(key=bindparam("new_key"), hostname=bindparam("new_name")), rows)


def rename_activity(connection: Connection, old: str, new: str) -> None:
    """Rename a host in the table of hosts, and unite what is known of both names."""
    names = _HOSTS.select().where(_HOSTS.c.name.in_([old, new])).order_by(_HOSTS.c.id).with_for_update()
    rows = [dict(row) for row in connection.execute(names).mappings()]
    known = {(row["name"], row["plugin"]): row for row in rows}
    for row in rows:
        if row["name"] != old:
            continue
        other = known.get((new, row["plugin"]))
        if other is not None and row["removed_at"] is not None:
            # Nothing is known of a host that was removed.
            kept = dict(other)
        else:
            activity = activity_of(row)
            activity.hostname = new
            if other is not None and other["removed_at"] is None:
                activity = united(activity, activity_of(other))
            kept = columns_of(host_id(new, row["plugin"]), activity)
            kept["removed_at"] = row["removed_at"]
        ids = [row["id"], *([other["id"]] if other is not None else [])]
        connection.execute(_HOSTS.delete().where(_HOSTS.c.id.in_(ids)))
        connection.execute(_HOSTS.insert(), [kept])
