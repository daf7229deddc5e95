"""Queries of the table of hosts."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, case, func, select

from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.time import LATEST, micros, moment, span
from sparkle_app.storage.hosts import AHEAD, HOSTS, activity_of, host_id

COUNTED_SECONDS = 7 * 86_400
"""How long a silent host is counted: an alert about a host that no longer exists ends by itself."""


def select_hosts(
    connection: Connection, plugin: str | None = None, config_id: int | None = None
) -> Iterator[HostActivity]:
    """The hosts that have not been removed, by name; optionally of one plugin or config."""
    statement = select(HOSTS).where(HOSTS.c.removed_at.is_(None)).order_by(HOSTS.c.name, HOSTS.c.plugin)
    if plugin is not None:
        statement = statement.where(HOSTS.c.plugin == plugin)
    if config_id is not None:
        statement = statement.where(HOSTS.c.config_id == config_id)
    for row in connection.execute(statement).mappings():
        yield activity_of(row)


def select_removed(connection: Connection, since: int) -> set[tuple[str, str]]:
    """Name and plugin of the hosts that were removed after a time, and have not sent a reading since."""
    statement = select(HOSTS.c.name, HOSTS.c.plugin).where(HOSTS.c.removed_at > moment(since))
    return {(name, plugin) for name, plugin in connection.execute(statement)}


def select_page_of_hosts(
    connection: Connection,
    plugin: str | None,
    silent_at: int | None,
    limit: int,
    after: str,
    *,
    untrusted_clock: bool = False,
) -> list[list[HostActivity]]:
    """The activity of each host of a page, by name and plugin.

    Arguments:
        plugin: only hosts that have sent readings of this plugin, and only this plugin.
        silent_at: only hosts of which a plugin is silent at this time, microseconds since the epoch.
        limit: maximum number of hosts.
        after: only hosts after this one.
        untrusted_clock: only hosts whose clock is not trusted.
    """
    listed: list[ColumnElement[bool]] = [HOSTS.c.removed_at.is_(None)]
    if plugin is not None:
        listed.append(HOSTS.c.plugin == plugin)
    matching = select(HOSTS.c.name).distinct().where(*listed, HOSTS.c.name > after)
    if silent_at is not None:
        matching = matching.where(HOSTS.c.silent_after < moment(silent_at))
    if untrusted_clock:
        matching = matching.where(HOSTS.c.clock_offset_seconds.is_not(None))
    names = connection.execute(matching.order_by(HOSTS.c.name).limit(limit)).scalars().all()
    page: dict[str, list[HostActivity]] = {name: [] for name in names}
    rows = select(HOSTS).where(*listed, HOSTS.c.name.in_(names)).order_by(HOSTS.c.plugin)
    for row in connection.execute(rows).mappings():
        page[row["name"]].append(activity_of(row))
    return list(page.values())


def select_activity(connection: Connection, name: str, plugin: str) -> HostActivity | None:
    """The activity of one host and plugin; None if there is none, or the host was removed."""
    statement = select(HOSTS).where(HOSTS.c.id == host_id(name, plugin), HOSTS.c.removed_at.is_(None))
    row = connection.execute(statement).mappings().first()
    return None if row is None else activity_of(row)


def select_last_receipt(connection: Connection, plugin: str, now: int) -> int | None:
    """When the last reading of a plugin was received, removed hosts included; microseconds since the epoch.

    Arguments:
        now: times that are later, by more than a day, are wrong.
    """
    at = HOSTS.c.last_received_at
    statement = select(func.max(at)).where(HOSTS.c.plugin == plugin, at <= moment(min(now + AHEAD, LATEST)))
    last: datetime | None = connection.execute(statement).scalar()
    return None if last is None else micros(last)


def plugins_of_host(connection: Connection, name: str) -> set[str]:
    """The plugins of which a host is known to have sent readings, unless it was removed."""
    statement = select(HOSTS.c.plugin).where(HOSTS.c.name == name, HOSTS.c.removed_at.is_(None))
    return set(connection.execute(statement).scalars())


def count_hosts(connection: Connection, now: int) -> Mapping[str, tuple[int, int]]:
    """The numbers of hosts that are not silent, and of those that have been for at most a week, by NAME of the plugin.

    Arguments:
        now: microseconds since the epoch.
    """
    silent = case((HOSTS.c.silent_after < moment(now), 1), else_=0)
    statement = (
        select(HOSTS.c.plugin, func.sum(1 - silent), func.sum(silent))
        .where(HOSTS.c.removed_at.is_(None), HOSTS.c.silent_after >= moment(now - span(COUNTED_SECONDS)))
        .group_by(HOSTS.c.plugin)
    )
    return {plugin: (int(ok), int(number)) for plugin, ok, number in connection.execute(statement)}
