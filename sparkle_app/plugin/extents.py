"""How many aggregates each host has, whether a plugin stores them in the default table or elsewhere."""

from collections.abc import Iterator

from sqlalchemy import Connection

from sparkle_app.plugin.default_tables import counts_default_aggregates
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.extents import Extent, select_extents


def load_extents(
    plugin: Plugin, connection: Connection, resolution: int, start: int, end: int, hostname: str | None
) -> Iterator[Extent]:
    """Hosts with aggregates with ``start <= bucket_start < end``, or only one host.

    If the plugin's own methods load aggregates, ``rows`` is the number of buckets.

    Arguments:
        resolution: bucket size in seconds.
    """
    scope = resolution, start, end, hostname
    if counts_default_aggregates(plugin):
        yield from select_extents(connection, plugin.Aggregates.__table__, *scope)
        return
    buckets: dict[str, tuple[int, int, int]] = {}
    for name, at, _ in plugin.count_aggregates(connection, *scope):
        count, first, last = buckets.get(name, (0, at, at))
        buckets[name] = count + 1, min(first, at), max(last, at)
    for name, extent in buckets.items():
        yield Extent(name, *extent)
