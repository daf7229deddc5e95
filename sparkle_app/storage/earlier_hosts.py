"""Adds hosts to the table of hosts that have sent readings before there was one."""

from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, Table, func, select

from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.retention import READINGS
from sparkle_app.model.time import micros
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.hosts import host_id, insert_hosts
from sparkle_app.storage.models import SERIES, SOURCES
from sparkle_app.storage.rows import existing
from sparkle_app.storage.statements import chunks

_MAX_HOSTS = 500


def add_hosts_of_readings(connection: Connection, readings: Mapping[str, Table]) -> int:
    """Add the hosts with stored readings that are not in the table, nor have been removed from it.

    Reads the first and the last reading of each metric, by event time: the index has them.

    Arguments:
        readings: tables of readings, by NAME of the plugin. One that does not exist is left out.

    Returns:
        The number of rows inserted.
    """
    inserted = 0
    for plugin, table in readings.items():
        if not existing(connection, [table]):
            continue
        found: dict[str, HostActivity] = {}
        for hostname, config_id, received, observed in _ends(connection, data_table(table)):
            known = found.get(hostname)
            if known is None:
                found[hostname] = HostActivity(
                    hostname, plugin, config_id, received, received, observed, observed
                )
            else:
                known.add(config_id, received, observed)
        for some in chunks(sorted(found), _MAX_HOSTS):
            by_id = {host_id(hostname, plugin): found[hostname] for hostname in some}
            inserted += len(insert_hosts(connection, by_id))
    return inserted


def _ends(connection: Connection, data: Table) -> Iterator[tuple[str, int, int, int]]:
    """Hostname, config id, and times of reception and of the event, of the first and last reading of each series."""
    same = data.alias("same")
    source = SOURCES.c.id == data.c.source_id
    for end in (func.min(same.c.observed_at), func.max(same.c.observed_at)):
        at = select(end).where(same.c.series_id == SERIES.c.id).scalar_subquery()
        of_end = (data.c.series_id == SERIES.c.id) & (data.c.observed_at == at)
        statement = (
            select(SERIES.c.hostname, SOURCES.c.config_id, data.c.received_at, data.c.observed_at)
            .select_from(SERIES.join(data, of_end).join(SOURCES, source))
            .where(SERIES.c.resolution == READINGS)
        )
        for hostname, config_id, received, observed in connection.execute(statement):
            yield hostname, config_id, micros(received), micros(observed)
