"""Merges hours and days, and deletes expired rows: what the watermarks of one plugin promise is done here.

The watermarks are advanced first (storage/retention.py). Then rows are merged or deleted in short transactions, each of
which is a step: whoever runs them can wait in between, or stop. The next run continues where the last one ended.
"""

from collections.abc import Generator, Iterator, Mapping

import msgspec
from sqlalchemy import Engine, Table

from sparkle_app.config.settings import Settings
from sparkle_app.model.retention import DAY, HOUR, READINGS, Retention, merged_resolutions
from sparkle_app.model.time import span
from sparkle_app.plugin.default_tables import has_default_aggregates, has_default_readings
from sparkle_app.plugin_api import Plugin
from sparkle_app.retention.deletion import Deletion
from sparkle_app.retention.merging import Merging
from sparkle_app.retention.plugin_rows import PluginRows
from sparkle_app.retention.steps import Action, Step, timed
from sparkle_app.storage.data_tables import data_table
from sparkle_app.storage.engine import read_transaction, return_space
from sparkle_app.storage.host_queries import select_last_receipt
from sparkle_app.storage.models import RETENTION
from sparkle_app.storage.retention import watermarks

GRACE_SECONDS = 900
"""Hours are merged so long after they end: what comes later is merged again."""
_LEAD_SECONDS = 3600
"""How much later than the last reading the present can be for a deletion: the clock of a worker may be wrong."""
_MERGED_LEAD_SECONDS = 2 * DAY
"""As above, for merging: the day of the last reading ends."""


class Expiry(msgspec.Struct, frozen=True):
    """What a run would delete."""

    resolution: int
    before: int
    """Rows that begin before this time, microseconds since the epoch."""
    rows: int | None
    """None if only the plugin knows."""


class Retainer:
    """Applies retention to the rows of one plugin. Several may run at once; one is enough.

    Arguments:
        name: NAME of the plugin.
        plugin: its server half.
        engine: the database.
        bucket_size: in seconds.
        retention: how long its rows are kept.
    """

    def __init__(
        self, name: str, plugin: Plugin, engine: Engine, bucket_size: int, retention: Retention
    ) -> None:
        self._rows = PluginRows(name, plugin, engine, bucket_size)
        self._retention = retention
        self._merged = merged_resolutions(bucket_size)

    def run(self, now: int) -> Generator[Step, None, None]:
        """Merge what has ended, then delete what has expired.

        Arguments:
            now: microseconds since the epoch.

        Raises:
            SQLAlchemyError: when the database does not work at this moment. What was done so far is not lost.
            TransientError: when rows are not deleted although the database reports no error.
        """
        rows = self._rows
        with rows.engine.begin() as connection:
            # Creates the watermarks of a plugin that is new.
            watermarks(connection, rows.name, rows.bucket_size, lock=True)
        for resolution in self._merged:
            ended = self._present(now, _MERGED_LEAD_SECONDS) - span(GRACE_SECONDS)
            yield from Merging(rows, resolution).run(ended)
        present = self._present(now)
        for resolution in (READINGS, rows.bucket_size, *self._merged):
            if rows.can_expire(resolution):
                yield from Deletion(rows, resolution).run(self._retention, present)
        while (step := timed(Action.VACUUM, READINGS, now, lambda: int(return_space(rows.engine)))).rows:
            yield step

    def expiring(self, now: int) -> Iterator[Expiry]:
        """What :meth:`run` would delete, if all that has ended was merged.

        No transaction is open while the caller has a result: the server would end one that is idle for long.
        """
        rows, present = self._rows, self._present(now)
        marks = rows.marks().as_if_merged(self._present(now, _MERGED_LEAD_SECONDS) - span(GRACE_SECONDS))
        for resolution in (READINGS, *marks.resolutions):
            before = max(
                marks.expires_before(resolution, self._retention, present), marks[resolution].kept_since
            )
            if not before or not rows.can_expire(resolution):
                continue
            yield Expiry(resolution, before, rows.count_expired(resolution, before))
            for each in rows.former_sizes(resolution):
                if number := rows.count_expired(each, before):
                    yield Expiry(each, before, number)

    def keeps_its_own(self) -> list[str]:
        """What cannot be deleted, because the plugin stores it in its own way and has no method that deletes it."""
        names = ((READINGS, "readings"), (self._rows.bucket_size, "aggregates"))
        return [name for resolution, name in names if not self._rows.can_expire(resolution)]

    def _present(self, now: int, lead: int = _LEAD_SECONDS) -> int:
        """The present, or so many seconds after the last reading: nothing is done because a clock is years ahead."""
        with read_transaction(self._rows.engine) as connection:
            last = select_last_receipt(connection, self._rows.name, now)
        return now if last is None else min(now, last + span(lead))


def retainers(settings: Settings, plugins: Mapping[str, Plugin], engine: Engine) -> dict[str, Retainer]:
    """A retainer for each plugin, by NAME."""
    size = settings.aggregates.bucket_seconds
    return {
        name: Retainer(name, plugin, engine, size, settings.retention.of(name))
        for name, plugin in plugins.items()
    }


def warnings(settings: Settings, plugins: Mapping[str, Plugin]) -> list[str]:
    """What of the settings has no effect, one line each."""
    size = settings.aggregates.bucket_seconds
    found = [
        f"retention.plugins: {name} is not installed"
        for name in settings.retention.plugins
        if name not in plugins
    ]
    if HOUR not in (size, *merged_resolutions(size)):
        missing = "hourly" if DAY in merged_resolutions(size) else "hourly or daily"
        found.append(
            f"aggregates.bucket_seconds is {size}, which does not divide an hour: there are no {missing} aggregates"
        )
    return found


def tables_to_delete_from(settings: Settings, plugins: Mapping[str, Plugin]) -> list[Table]:
    """The default tables with rows that are not kept for ever, and that of watermarks; none if all are."""
    found: list[Table] = []
    for name, plugin in plugins.items():
        kept = settings.retention.of(name)
        if kept.readings is not None and has_default_readings(plugin):
            found.append(data_table(plugin.DataFrame.__table__))
        aggregates = (kept.buckets, kept.hours, kept.days)
        if aggregates != (None, None, None) and has_default_aggregates(plugin):
            found.append(data_table(plugin.Aggregates.__table__))
    return [*found, RETENTION] if found else []
