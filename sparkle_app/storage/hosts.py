"""The tables of hosts: who sends readings of which plugin, and since when."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, ForeignKey, Integer, String, bindparam, case, func, select
from sqlalchemy.orm import Mapped, mapped_column

from sparkle_app.model.host_activity import HostActivity, merged
from sparkle_app.model.time import micros, moment
from sparkle_app.storage.columns import ReadingId, UtcDateTime
from sparkle_app.storage.dialects.base import retried_on_conflict
from sparkle_app.storage.models import Base


class Host(Base):
    """A host that has sent readings."""

    __tablename__ = "sparkle_hosts"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    digest: Mapped[bytes] = mapped_column(ReadingId, unique=True)
    """First 16 bytes of the SHA-256 hash of the name: names are longer than some databases can index."""
    name: Mapped[str] = mapped_column(String(1024))
    removed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it was removed; NULL again as soon as it sends readings."""


class HostPlugin(Base):
    """When a host sent readings of a plugin."""

    __tablename__ = "sparkle_host_plugins"

    host_id: Mapped[int] = mapped_column(ForeignKey(Host.id), primary_key=True, autoincrement=False)
    plugin: Mapped[str] = mapped_column(String(255), primary_key=True)
    config_id: Mapped[int] = mapped_column(BigInteger)
    first_received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    first_observed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_observed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    interval_seconds: Mapped[int | None] = mapped_column(Integer)
    """Usual time between its readings, at least 60; NULL: it has sent readings only once."""
    silent_after: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    """The host is silent after this time, unless it sends another reading."""


_HOSTS, _PLUGINS = Host.__table__, HostPlugin.__table__
_TIMES = ("first_received_at", "last_received_at", "first_observed_at", "last_observed_at")
_SECOND = 1_000_000


class ReturnedHost(NamedTuple):
    """A host that sends readings although it was removed."""

    name: str
    removed_at: int
    """Microseconds since the epoch."""


def record_activity(connection: Connection, activities: Sequence[HostActivity]) -> list[ReturnedHost]:
    """Add to what is known of these hosts; returns those that were removed before.

    Arguments:
        activities: at most one for each host and plugin, and some hundreds in all.
    """
    # In sorted order, so that two workers cannot deadlock.
    by_name: dict[str, list[HostActivity]] = {}
    for activity in sorted(activities, key=lambda each: (each.hostname, each.plugin)):
        by_name.setdefault(activity.hostname, []).append(activity)
    ids, returned = retried_on_conflict(connection, partial(_host_ids, connection, list(by_name)))
    keys = {(ids[name], each.plugin): each for name in by_name for each in by_name[name]}
    retried_on_conflict(connection, partial(_record, connection, keys))
    return returned


def select_hosts(
    connection: Connection, plugin: str | None = None, config_id: int | None = None
) -> Iterator[HostActivity]:
    """The hosts that have not been removed, by name; optionally of one plugin or config."""
    statement = (
        select(_HOSTS.c.name, _PLUGINS)
        .join(_PLUGINS, _PLUGINS.c.host_id == _HOSTS.c.id)
        .where(_HOSTS.c.removed_at.is_(None))
        .order_by(_HOSTS.c.name, _PLUGINS.c.plugin)
    )
    if plugin is not None:
        statement = statement.where(_PLUGINS.c.plugin == plugin)
    if config_id is not None:
        statement = statement.where(_PLUGINS.c.config_id == config_id)
    for row in connection.execute(statement).mappings():
        yield _activity_of(row["name"], dict(row))


def select_page_of_hosts(
    connection: Connection, plugin: str | None, silent_at: int | None, limit: int, after: str
) -> list[list[HostActivity]]:
    """The activity of each host of a page, by name and plugin.

    Arguments:
        plugin: only hosts that have sent readings of this plugin, and only this plugin.
        silent_at: only hosts of which a plugin is silent at this time, microseconds since the epoch.
        limit: maximum number of hosts.
        after: only hosts after this one.
    """
    of_host = select(_PLUGINS.c.host_id).where(_PLUGINS.c.host_id == _HOSTS.c.id)
    activity = select(_PLUGINS).order_by(_PLUGINS.c.plugin)
    if plugin is not None:
        of_host = of_host.where(_PLUGINS.c.plugin == plugin)
        activity = activity.where(_PLUGINS.c.plugin == plugin)
    if silent_at is not None:
        of_host = of_host.where(_PLUGINS.c.silent_after < moment(silent_at))
    statement = (
        select(_HOSTS.c.id, _HOSTS.c.name)
        .where(_HOSTS.c.removed_at.is_(None), _HOSTS.c.name > after, of_host.exists())
        .order_by(_HOSTS.c.name)
        .limit(limit)
    )
    names = {row.id: row.name for row in connection.execute(statement)}
    page: dict[int, list[HostActivity]] = {id_: [] for id_ in names}
    for row in connection.execute(activity.where(_PLUGINS.c.host_id.in_(names))).mappings():
        page[row["host_id"]].append(_activity_of(names[row["host_id"]], dict(row)))
    return list(page.values())


def count_hosts(connection: Connection, now: int) -> Mapping[tuple[str, bool], int]:
    """The number of hosts by NAME of the plugin, and by whether they are silent.

    Arguments:
        now: microseconds since the epoch.
    """
    silent = case((_PLUGINS.c.silent_after < moment(now), 1), else_=0)
    statement = select(_PLUGINS.c.plugin, func.count(), func.sum(silent)).group_by(_PLUGINS.c.plugin)
    counts: dict[tuple[str, bool], int] = {}
    for plugin, number, silent_number in connection.execute(statement):
        counts[plugin, True] = int(silent_number)
        counts[plugin, False] = number - int(silent_number)
    return counts


def remove_host(connection: Connection, name: str, at: int) -> bool:
    """Forget a host until it sends readings again; its readings and aggregates stay.

    Arguments:
        at: microseconds since the epoch.

    Returns:
        Whether there was such a host.
    """
    found = connection.execute(
        _HOSTS.update()
        .where(_HOSTS.c.digest == _digest(name), _HOSTS.c.removed_at.is_(None))
        .values(removed_at=moment(at))
    )
    if not found.rowcount:
        return False
    of_host = select(_HOSTS.c.id).where(_HOSTS.c.digest == _digest(name)).scalar_subquery()
    connection.execute(_PLUGINS.delete().where(_PLUGINS.c.host_id == of_host))
    return True


def _host_ids(connection: Connection, names: Sequence[str]) -> tuple[Mapping[str, int], list[ReturnedHost]]:
    """The ids of hosts, which are inserted if they are new, and those that were removed before."""
    digests = {_digest(name): name for name in names}
    statement = select(_HOSTS.c.id, _HOSTS.c.digest, _HOSTS.c.removed_at).where(_HOSTS.c.digest.in_(digests))
    found = {digests[row.digest]: row for row in connection.execute(statement)}
    returned = [ReturnedHost(name, micros(row.removed_at)) for name, row in found.items() if row.removed_at]
    for host in returned:
        same = _HOSTS.c.digest == _digest(host.name)
        connection.execute(_HOSTS.update().where(same).values(removed_at=None))
    if new := [{"digest": digest, "name": name} for digest, name in digests.items() if name not in found]:
        connection.execute(_HOSTS.insert(), new)
        found = {digests[row.digest]: row for row in connection.execute(statement)}
    return {name: row.id for name, row in found.items()}, returned


def _record(connection: Connection, activities: Mapping[tuple[int, str], HostActivity]) -> None:
    """Insert or update rows, by id of the host and NAME of the plugin."""
    statement = (
        select(_PLUGINS)
        .where(_PLUGINS.c.host_id.in_({id_ for id_, _ in activities}))
        .order_by(_PLUGINS.c.host_id, _PLUGINS.c.plugin)
        .with_for_update()
    )
    new = dict(activities)
    known = []
    for row in connection.execute(statement).mappings():
        later = new.pop((row["host_id"], row["plugin"]), None)
        if later:
            both = merged(_activity_of(later.hostname, dict(row)), later)
            known.append({f"new_{name}": value for name, value in _columns(row["host_id"], both).items()})
    if known:
        columns: dict[str, Any] = {column.name: bindparam(f"new_{column.name}") for column in _PLUGINS.c}
        same = (_PLUGINS.c[name] == columns.pop(name) for name in ("host_id", "plugin"))
        connection.execute(_PLUGINS.update().where(*same).values(columns), known)
    if new:
        connection.execute(_PLUGINS.insert(), [_columns(id_, each) for (id_, _), each in new.items()])


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:16]


def _columns(host_id: int, activity: HostActivity) -> dict[str, Any]:
    return {
        "host_id": host_id,
        "plugin": activity.plugin,
        "config_id": activity.config_id,
        **{name: moment(getattr(activity, name)) for name in _TIMES},
        "interval_seconds": None if activity.interval is None else activity.interval // _SECOND,
        "silent_after": moment(activity.silent_after),
    }


def _activity_of(name: str, row: Mapping[str, Any]) -> HostActivity:
    interval = row["interval_seconds"]
    return HostActivity(
        hostname=name,
        plugin=row["plugin"],
        config_id=row["config_id"],
        interval=None if interval is None else interval * _SECOND,
        **{column: micros(row[column]) for column in _TIMES},
    )
