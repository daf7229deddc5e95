"""The table of hosts: who sends readings of which plugin, and since when. How its rows are written."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Integer,
    String,
    bindparam,
    select,
)
from sqlalchemy.orm import Mapped, mapped_column

from sparkle_app.model.host_activity import HostActivity, merged
from sparkle_app.model.time import micros, moment, span
from sparkle_app.storage.columns import ReadingId, UtcDateTime
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.models import Base
from sparkle_app.storage.statements import name_key

# Another worker has just written the row.
_FRESH = span(30)
AHEAD = span(86_400)
"""Times that are so much later than the present are those of a clock that has been corrected since."""


class Host(Base):
    """When a host sent readings of a plugin. All of them are readings that were stored."""

    __tablename__ = "sparkle_hosts"

    id: Mapped[bytes] = mapped_column(ReadingId, primary_key=True)
    """First 16 bytes of the SHA-256 hash of name and plugin: names are longer than some databases can index."""
    name: Mapped[str] = mapped_column(String(1024))
    plugin: Mapped[str] = mapped_column(String(255))
    config_id: Mapped[int] = mapped_column(BigInteger)
    first_received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    first_observed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_observed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    interval_seconds: Mapped[int | None] = mapped_column(Integer)
    """Usual time between its readings, at least 60; NULL: not known yet."""
    silent_after: Mapped[datetime] = mapped_column(UtcDateTime)
    """The host is silent after this time, unless it sends another reading."""
    removed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it was removed; NULL again as soon as it sends another reading."""
    clock_offset_seconds: Mapped[int | None] = mapped_column(BigInteger)
    """The local time that its last reading states, minus the time at which this was received, if its clock is not
    trusted; NULL: it is."""


HOSTS = Host.__table__
_TIMES = ("first_received_at", "last_received_at", "first_observed_at", "last_observed_at")


class ReturnedHost(NamedTuple):
    """A host that sends readings although it was removed."""

    name: str
    plugin: str
    removed_at: int
    """Microseconds since the epoch."""


def record_activity(engine: Engine, activities: Sequence[HostActivity], now: int) -> list[ReturnedHost]:
    """Add to what is known of these hosts; returns those that were removed before.

    Arguments:
        activities: at most one for each host and plugin, and some hundreds in all.
        now: microseconds since the epoch.
    """
    # In the same order in all workers, and in two transactions: otherwise they could deadlock.
    by_id = dict(
        sorted(((host_id(each.hostname, each.plugin), each) for each in activities), key=itemgetter(0))
    )
    with engine.begin() as connection:
        inserted = insert_hosts(connection, by_id)
    known = {id_: each for id_, each in by_id.items() if id_ not in inserted}
    if not known:
        return []
    with engine.begin() as connection:
        return _update(connection, known, now)


def remove_host(connection: Connection, name: str, plugin: str | None, at: int) -> bool:
    """Forget a host until it sends another reading; its readings and aggregates stay.

    Arguments:
        plugin: only this plugin of the host.
        at: microseconds since the epoch.

    Returns:
        Whether there was such a host.
    """
    statement = HOSTS.update().where(HOSTS.c.name == name, HOSTS.c.removed_at.is_(None))
    if plugin is not None:
        statement = statement.where(HOSTS.c.plugin == plugin)
    return bool(connection.execute(statement.values(removed_at=moment(at))).rowcount)


def insert_hosts(connection: Connection, activities: Mapping[bytes, HostActivity]) -> set[bytes]:
    """Insert those of some hundreds of hosts that are new, by their id; returns the ids of these."""
    dialect = dialect_of(connection)
    time, native_id = dialect.converters(HOSTS)
    rows = [
        columns_of(id_, activity) | {name: time(getattr(activity, name)) for name in _TIMES}
        | {"id": native_id(id_), "silent_after": time(activity.silent_after)}
        for id_, activity in activities.items()
    ]  # fmt: skip
    return dialect.insert_new(connection, HOSTS, rows)


def _update(connection: Connection, activities: Mapping[bytes, HostActivity], now: int) -> list[ReturnedHost]:
    """Update the rows of hosts that are known."""
    returned: list[ReturnedHost] = []
    changed: list[dict[str, Any]] = []
    statement = select(HOSTS).where(HOSTS.c.id.in_(activities)).order_by(HOSTS.c.id).with_for_update()
    for row in connection.execute(statement).mappings():
        known, activity = activity_of(row), activities[row["id"]]
        if row["removed_at"]:
            removed_at = micros(row["removed_at"])
            if activity.last_received_at <= removed_at:
                # Sent before it was removed.
                continue
            returned.append(ReturnedHost(known.hostname, known.plugin, removed_at))
            changed.append(columns_of(row["id"], activity))
        elif known.last_received_at > now + AHEAD:
            corrected = msgspec.structs.replace(
                activity,
                first_received_at=min(known.first_received_at, activity.first_received_at),
                first_observed_at=min(known.first_observed_at, activity.first_observed_at),
                interval=known.interval,
            )
            changed.append(columns_of(row["id"], corrected))
        elif activity.last_received_at - known.last_received_at >= _FRESH or _is_earlier(activity, known):
            changed.append(columns_of(row["id"], merged(known, activity)))
    if changed:
        columns: dict[str, Any] = {name: bindparam(f"new_{name}") for name in changed[0]}
        same = HOSTS.c.id == columns.pop("id")
        rows = [{f"new_{name}": value for name, value in row.items()} for row in changed]
        connection.execute(HOSTS.update().where(same).values(columns), rows)
    return returned


def _is_earlier(activity: HostActivity, known: HostActivity) -> bool:
    return (
        activity.first_received_at < known.first_received_at
        or activity.first_observed_at < known.first_observed_at
    )


def host_id(name: str, plugin: str) -> bytes:
    """The id of a host and plugin in the table."""
    return name_key(f"{name}\0{plugin}")


def columns_of(id_: bytes, activity: HostActivity) -> dict[str, Any]:
    """The row of a host that is not removed."""
    return {
        "id": id_,
        "name": activity.hostname,
        "plugin": activity.plugin,
        "config_id": activity.config_id,
        **{name: moment(getattr(activity, name)) for name in _TIMES},
        "interval_seconds": None if activity.interval is None else activity.interval // span(1),
        "silent_after": moment(activity.silent_after),
        "removed_at": None,
        "clock_offset_seconds": None if activity.clock_offset is None else activity.clock_offset // span(1),
    }


def activity_of(row: Any) -> HostActivity:
    """The activity that a row describes, whether the host is removed or not."""
    interval, offset = row["interval_seconds"], row["clock_offset_seconds"]
    times = {name: micros(row[name]) for name in _TIMES}
    return HostActivity(
        hostname=row["name"],
        plugin=row["plugin"],
        config_id=row["config_id"],
        interval=None if interval is None else span(interval),
        clock_offset=None if offset is None else span(offset),
        **times,
    )
