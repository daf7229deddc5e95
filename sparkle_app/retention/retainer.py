"""Merges hours and days, and deletes expired rows: what the watermarks of one plugin promise is done here.

The watermarks are advanced first (storage/retention.py). Then rows are merged or deleted in short transactions, each of
which is a step: whoever runs them can wait in between, or stop. The next run continues where the last one ended.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from enum import StrEnum

import msgspec
from sqlalchemy import Engine, Table

from sparkle_app.config.settings import Settings
from sparkle_app.model.buckets import bucket_start
from sparkle_app.model.errors import TransientError
from sparkle_app.model.retention import DAY, HOUR, READINGS, Retention, Watermarks, merged_resolutions
from sparkle_app.model.time import EARLIEST, rfc3339, span
from sparkle_app.plugin.merging import merged_rows
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.engine import read_transaction, return_space
from sparkle_app.storage.expiry import (
    count_expired,
    delete_buckets,
    delete_readings,
    first_bucket,
    first_reading,
    former_bucket_sizes,
    named_hosts,
)
from sparkle_app.storage.hosts import select_last_receipt
from sparkle_app.storage.retention import advance, watermarks
from sparkle_app.storage.statements import chunks

GRACE_SECONDS = 900
"""Hours are merged so long after they end: what comes later is merged again."""
_LEAD_SECONDS = 3600
"""How much later than the last reading the present can be for a deletion: the clock of a worker may be wrong."""
_MERGED_HOSTS = 200
"""For an hour or a day; for several hours, fewer."""
_FIRST_HOSTS = 10
_LIMIT = 5000
_MAX_HOSTS = 1000
_STEP_SECONDS = 0.1
"""A deletion should take about so long: nothing else is written to SQLite meanwhile."""


class Action(StrEnum):
    """What a step does."""

    MERGE = "merge"
    DELETE = "delete"
    VACUUM = "vacuum"


class Step(msgspec.Struct, frozen=True):
    """A transaction that has been committed."""

    action: Action
    resolution: int
    """Seconds; 0 for readings."""
    rows: int
    until: int
    """Rows before this time are being merged or deleted."""
    seconds: float
    """How long it took."""


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
        self._name = name
        self._plugin = plugin
        self._engine = engine
        self._bucket_size = bucket_size
        self._retention = retention

    def run(self, now: int) -> Generator[Step, None, None]:
        """Merge what has ended, then delete what has expired.

        Arguments:
            now: microseconds since the epoch.

        Raises:
            SQLAlchemyError: when the database does not work at this moment. What was done so far is not lost.
        """
        with self._engine.begin() as connection:
            # Creates the watermarks of a plugin that is new.
            watermarks(connection, self._name, self._bucket_size, lock=True)
        for resolution in merged_resolutions(self._bucket_size):
            yield from self._merge(resolution, now - span(GRACE_SECONDS))
        present = self._present(now)
        for resolution in (READINGS, self._bucket_size, *merged_resolutions(self._bucket_size)):
            if self._can_expire(resolution):
                yield from self._expire(resolution, present)
        while (
            step := self._timed(Action.VACUUM, READINGS, now, lambda: int(return_space(self._engine)))
        ).rows:
            yield step

    def expiring(self, now: int) -> Iterator[Expiry]:
        """What :meth:`run` would delete, if all that has ended was merged."""
        present = self._present(now)
        with read_transaction(self._engine) as connection:
            marks = watermarks(connection, self._name, self._bucket_size).as_if_merged(
                now - span(GRACE_SECONDS)
            )
            for resolution in (READINGS, *marks.resolutions):
                before = max(
                    marks.expires_before(resolution, self._retention, present), marks[resolution].kept_since
                )
                if not before or not self._can_expire(resolution):
                    continue
                own = self._own_readings if resolution == READINGS else self._own_aggregates
                table = self._readings if resolution == READINGS else self._aggregates
                rows = count_expired(connection, table, resolution, before) if own else None
                yield Expiry(resolution, before, rows)

    def _present(self, now: int) -> int:
        """The present, or an hour after the last reading: nothing is deleted because a clock is years ahead."""
        with read_transaction(self._engine) as connection:
            last = select_last_receipt(connection, self._name)
        return now if last is None else min(now, last + span(_LEAD_SECONDS))

    def keeps_its_own(self) -> list[str]:
        """What cannot be deleted, because the plugin stores it in its own way and has no method that deletes it."""
        names = ((READINGS, "readings"), (self._bucket_size, "aggregates"))
        return [name for resolution, name in names if not self._can_expire(resolution)]

    def _can_expire(self, resolution: int) -> bool:
        own = type(self._plugin)
        if resolution == READINGS:
            return self._own_readings or own.expire_readings is not Plugin.expire_readings
        return self._own_aggregates or own.expire_aggregates is not Plugin.expire_aggregates

    @property
    def _own_readings(self) -> bool:
        """Whether readings are in the handler's own table."""
        return type(self._plugin).load_readings is Plugin.load_readings

    @property
    def _own_aggregates(self) -> bool:
        return type(self._plugin).load_aggregates is Plugin.load_aggregates

    def _marks(self) -> Watermarks:
        with read_transaction(self._engine) as connection:
            return watermarks(connection, self._name, self._bucket_size)

    def _advance(self, resolution: int, **marks: int) -> None:
        advance(self._engine, self._name, resolution, **marks)

    def _merge(self, resolution: int, now: int) -> Iterator[Step]:
        marks = self._marks()
        until = marks.may_be_merged_until(resolution, now)
        start = marks[resolution].merged_until
        if start >= until:
            return
        if not start:
            start = self._first_to_merge(resolution, until)
        while start < until:
            # Until the end of the day: what is merged is not merged again after an interruption.
            end = min(until, bucket_start(start, DAY) + span(DAY))
            self._advance(resolution, merging_until=end)
            units, rows = (end - start) // span(resolution), 0
            for some in chunks(self._aggregated_hosts(start, end), max(1, _MERGED_HOSTS // units)):
                work = self._merging(some, resolution, start, end)
                yield (step := self._timed(Action.MERGE, resolution, end, work))
                rows += step.rows
            self._advance(resolution, merged_until=end)
            start = end if rows else self._after_pause(resolution, end, until)

    def _after_pause(self, resolution: int, start: int, until: int) -> int:
        """Where to continue after a day without rows: one row of a wrong clock may be decades before the next."""
        if not self._own_aggregates:
            return start
        found = self._next_row(start, until)
        end = until if found is None else bucket_start(found, DAY)
        if end <= start:
            return start
        self._advance(resolution, merging_until=end)
        # Again: a transaction that had read the old watermarks may have stored rows in between.
        if self._next_row(start, end) is not None:
            return start
        self._advance(resolution, merged_until=end)
        return end

    def _next_row(self, start: int, before: int) -> int | None:
        """Start of the first row in a time range, of readings or of aggregates."""
        with read_transaction(self._engine) as connection:
            firsts = [
                first_bucket(connection, self._aggregates, each, before, start)
                for each in (self._bucket_size, *merged_resolutions(self._bucket_size))
            ]
            if self._own_readings:
                firsts.append(first_reading(connection, self._readings, before, start))
        return min((each for each in firsts if each is not None), default=None)

    def _first_to_merge(self, resolution: int, until: int) -> int:
        """Where the first run begins. The watermarks are at the end of that day, or at ``until``."""
        first = self._first_source(resolution, until)
        end = until if first is None else min(until, bucket_start(first, DAY) + span(DAY))
        self._advance(resolution, merging_until=end)
        # Again: a transaction that had read the old watermarks may have stored earlier ones meanwhile.
        first = self._first_source(resolution, end)
        if first is not None:
            return bucket_start(first, resolution)
        self._advance(resolution, merged_until=end)
        return end

    def _merging(self, hosts: Sequence[str], resolution: int, start: int, end: int) -> Callable[[], int]:
        def merge() -> int:
            # In one transaction: a host whose rows were given to another name meanwhile would be counted twice.
            with self._engine.begin() as connection:
                marks = watermarks(connection, self._name, self._bucket_size, lock=True)
                if not marks.keeps(resolution, start):
                    return 0
                rows = merged_rows(self._plugin, connection, marks, hosts, resolution, start, end)
                if rows:
                    self._plugin.store_aggregates(connection, rows)
            return len(rows)

        return merge

    def _expire(self, resolution: int, now: int) -> Iterator[Step]:
        marks = self._marks()
        before = marks.expires_before(resolution, self._retention, now)
        if before > marks[resolution].kept_since:
            self._advance(resolution, kept_since=before)
        before = self._marks()[resolution].kept_since
        if marks[resolution].deleted_until >= before:
            return
        own = self._own_readings if resolution == READINGS else self._own_aggregates
        if not own:
            yield from self._expire_by_plugin(resolution, before)
        else:
            yield from self._delete(resolution, before)
            if resolution == self._bucket_size:
                for each in self._former_sizes():
                    yield from self._delete(each, before)
        self._advance(resolution, deleted_until=before)

    def _expire_by_plugin(self, resolution: int, before: int) -> Iterator[Step]:
        def delete() -> int:
            with self._engine.begin() as connection:
                if resolution == READINGS:
                    return self._plugin.expire_readings(connection, before, _LIMIT)
                return self._plugin.expire_aggregates(connection, resolution, before, _LIMIT)

        while (step := self._timed(Action.DELETE, resolution, before, delete)).rows:
            yield step

    def _delete(self, resolution: int, before: int) -> Iterator[Step]:
        # Rows of the same time are near each other.
        width = span(max(HOUR, min(resolution * 60, 30 * DAY)))
        hosts = self._named_hosts(resolution)
        number, earlier = _FIRST_HOSTS, -1
        while (first := self._first(resolution, before)) is not None:
            if first == earlier:
                raise TransientError(f"{self._name}: rows at {rfc3339(first)} are not deleted")
            start, earlier, deleted = bucket_start(first, HOUR), first, True
            while start < before and deleted:
                end, deleted, place = min(before, start + width), False, 0
                while place < len(hosts):
                    some = hosts[place : place + number]
                    work = self._deletion(some, resolution, start, end)
                    yield (step := self._timed(Action.DELETE, resolution, end, work))
                    place += len(some)
                    deleted |= step.rows > 0
                    faster = max(0.25, min(_STEP_SECONDS / max(step.seconds, 0.001), 2.0))
                    number = max(1, min(int(number * faster), _MAX_HOSTS))
                start = end

    def _deletion(self, hosts: Sequence[str], resolution: int, start: int, end: int) -> Callable[[], int]:
        def delete() -> int:
            with self._engine.begin() as connection:
                if resolution == READINGS:
                    return delete_readings(connection, self._readings, hosts, start, end)
                return delete_buckets(connection, self._aggregates, hosts, resolution, start, end)

        return delete

    def _first(self, resolution: int, before: int) -> int | None:
        with read_transaction(self._engine) as connection:
            if resolution == READINGS:
                return first_reading(connection, self._readings, before)
            return first_bucket(connection, self._aggregates, resolution, before)

    def _first_source(self, resolution: int, before: int) -> int | None:
        """Time of the first aggregate, or reading, from which others are merged."""
        finer = [self._bucket_size, *merged_resolutions(self._bucket_size)]
        source = finer[finer.index(resolution) - 1]
        found: list[int | None] = []
        # Where buckets may be incomplete, readings are a source as well.
        if self._own_readings and self._marks()[source].complete_since:
            found.append(self._first(READINGS, before))
        if self._own_aggregates:
            found.append(self._first(source, before))
        else:
            with read_transaction(self._engine) as connection:
                counts = self._plugin.count_aggregates(connection, source, EARLIEST, before)
                found += [start for _, start, _ in counts]
        return min((each for each in found if each is not None), default=None)

    def _aggregated_hosts(self, start: int, end: int) -> Sequence[str]:
        """All hosts that may have aggregates of buckets, or had them before a change of the bucket size."""
        with read_transaction(self._engine) as connection:
            hosts = set(named_hosts(connection))
            if not self._own_aggregates:
                found = self._plugin.count_aggregates(connection, self._bucket_size, start, end)
                hosts.update(hostname for hostname, _, _ in found)
        return sorted(hosts)

    def _named_hosts(self, resolution: int) -> Sequence[str]:
        with read_transaction(self._engine) as connection:
            return named_hosts(connection, resolution)

    def _former_sizes(self) -> Sequence[int]:
        known = (self._bucket_size, *merged_resolutions(self._bucket_size))
        with read_transaction(self._engine) as connection:
            return former_bucket_sizes(connection, known)

    @property
    def _readings(self) -> Table:
        return self._plugin.DataFrame.__table__

    @property
    def _aggregates(self) -> Table:
        return self._plugin.Aggregates.__table__

    def _timed(self, action: Action, resolution: int, until: int, work: Callable[[], int]) -> Step:
        began = time.monotonic()
        rows = work()
        return Step(action, resolution, rows, until, time.monotonic() - began)


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
        rest = "days" if DAY in merged_resolutions(size) else "no coarser ones"
        found.append(
            f"aggregates.bucket_seconds is {size}, which does not divide an hour: there are no aggregates of hours,"
            f" only buckets and {rest}"
        )
    return found
