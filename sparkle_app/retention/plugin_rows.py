"""The rows of one plugin, and their watermarks, as retention sees them."""

from sqlalchemy import Engine, Table

from sparkle_app.model.retention import READINGS, Watermarks, merged_resolutions
from sparkle_app.model.time import EARLIEST
from sparkle_app.plugin.default_tables import has_default_aggregates, has_default_readings
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.expiry import (
    count_expired,
    first_bucket,
    first_reading,
    former_bucket_sizes,
    named_hosts,
)
from sparkle_app.storage.retention import advance, watermarks


class PluginRows:
    """Where the rows of one plugin are, and since when they are kept or merged.

    Arguments:
        name: NAME of the plugin.
        plugin: its server half.
        engine: the database.
        bucket_size: in seconds.
    """

    def __init__(self, name: str, plugin: Plugin, engine: Engine, bucket_size: int) -> None:
        self.name = name
        self.plugin = plugin
        self.engine = engine
        self.bucket_size = bucket_size
        self.default_readings = has_default_readings(plugin)
        """Whether readings are in the default table."""
        self.default_aggregates = has_default_aggregates(plugin)

    def is_default(self, resolution: int) -> bool:
        """Whether rows of this resolution are in the default tables."""
        return self.default_readings if resolution == READINGS else self.default_aggregates

    def can_expire(self, resolution: int) -> bool:
        """Whether the handler or the plugin can delete rows of this resolution."""
        own = type(self.plugin)
        if resolution == READINGS:
            return self.default_readings or own.expire_readings is not Plugin.expire_readings
        return self.default_aggregates or own.expire_aggregates is not Plugin.expire_aggregates

    def table(self, resolution: int) -> Table:
        """The default table of readings, or of aggregates."""
        model = self.plugin.DataFrame if resolution == READINGS else self.plugin.Aggregates
        return model.__table__

    def marks(self) -> Watermarks:
        """The present watermarks."""
        with read_transaction(self.engine) as connection:
            return watermarks(connection, self.name, self.bucket_size)

    def advance(self, resolution: int, **marks: int) -> None:
        """Advance watermarks: storage/retention.py."""
        advance(self.engine, self.name, resolution, **marks)

    def hosts(self, start: int, end: int) -> list[str]:
        """All hosts that may have aggregates of buckets in a time range, also of a former bucket size."""
        with read_transaction(self.engine) as connection:
            hosts = set(named_hosts(connection))
            if not self.default_aggregates:
                found = self.plugin.count_aggregates(connection, self.bucket_size, start, end)
                hosts.update(hostname for hostname, _, _ in found)
        return sorted(hosts)

    def first(self, resolution: int, before: int, since: int = 0) -> int | None:
        """Start of the first row of this resolution in a time range; None if there is none.

        Of readings of which only the plugin knows, None.
        """
        with read_transaction(self.engine) as connection:
            if resolution == READINGS:
                if not self.default_readings:
                    return None
                return first_reading(connection, self.table(READINGS), before, since)
            if self.default_aggregates:
                return first_bucket(connection, self.table(resolution), resolution, before, since)
            counts = self.plugin.count_aggregates(connection, resolution, since or EARLIEST, before)
            return min((start for _, start, _ in counts), default=None)

    def count_expired(self, resolution: int, before: int) -> int | None:
        """The number of rows of this resolution that begin before a time; None if only the plugin knows."""
        if not self.is_default(resolution):
            return None
        with read_transaction(self.engine) as connection:
            return count_expired(connection, self.table(resolution), resolution, before)

    def former_sizes(self, resolution: int) -> list[int]:
        """The former bucket sizes, in the default tables, whose rows expire with those of a resolution."""
        if resolution != self.bucket_size or not self.is_default(resolution):
            return []
        with read_transaction(self.engine) as connection:
            return former_bucket_sizes(connection, self.bucket_size)

    def first_source(self, resolution: int, before: int, since: int = 0) -> int | None:
        """Start of the first row in a time range from which hours, or days, are merged; None if there is none."""
        finer = [
            each for each in (self.bucket_size, *merged_resolutions(self.bucket_size)) if each < resolution
        ]
        # Where buckets may be incomplete, readings are a source as well.
        firsts = [self.first(each, before, since) for each in (READINGS, *finer)]
        return min((each for each in firsts if each is not None), default=None)
