"""All hosts with all plugins: the lines of the fleet, and the hosts that SQL knows, silent ones included."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import msgspec

from sparkle_app.kafka.topology import partition_of
from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.time import LATEST, span
from sparkle_app.plugin.panel import Panel, State
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import current_time
from sparkle_app.web.snapshots.fleet import FleetSnapshot, OutdatedPartitions
from sparkle_app.web.snapshots.known_hosts import KNOWN_SECONDS, KnownHosts, KnownHostsView
from sparkle_app.web.snapshots.lines import Line, View
from sparkle_app.web.snapshots.refreshed import Refreshed
from sparkle_app.web.snapshots.views import Views

WINDOW_SECONDS = 15 * 60
SEVERITY: Mapping[State, int] = {"silent": 0, "critical": 1, "warning": 2, "unknown": 3, "ok": 4}
"""The worst state first."""


class Value(msgspec.Struct, frozen=True, gc=False):
    """A plugin of a host."""

    state: State
    by_thresholds: State
    """The state of its last value, also if the host is silent; unknown: there are thresholds, but no value is known."""
    seen_at: int
    """When it last sent a reading, microseconds since the epoch."""
    line: Line | None
    """None: no numeric reading in the window."""
    activity: HostActivity | None
    """None: the host is new."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """A host."""

    state: State
    """The worst of its plugins."""
    seen_at: int
    """When it last sent a reading; if it is silent, of a plugin that is silent: others may still send."""
    values: Mapping[str, Value]
    """By NAME of the plugin."""
    valid_until: int
    """When the state changes unless it sends another reading."""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """All hosts at one moment. It must not be modified."""

    number: int
    """Differs between overviews with different contents."""
    made_at: int
    """When the worker began to make it, microseconds since the epoch."""
    start: int
    end: int
    rows: Mapping[str, Row]
    """By hostname, in any order."""
    states: Mapping[str, Mapping[State, int]]
    """Number of hosts by NAME of the plugin and state; "" stands for all plugins."""
    outdated: Sequence[tuple[str, OutdatedPartitions]]
    """NAME of the plugin, and of which partitions the lines are old or missing."""
    problem: str
    """Why the hosts that SQL knows are not up to date; empty if they are."""


class OverviewView:
    """Makes overviews while somebody asks for them."""

    def __init__(self, parts: WebParts, views: Views) -> None:
        self._parts = parts
        self._panels: dict[str, Panel] = {name: each.panel for name, each in parts.plugins.items()}
        self._fleets = {name: views.fleet(View(name, self.window)) for name in parts.plugins}
        self._known_hosts = KnownHostsView(parts)
        self._numbers = count(1)
        self._last: Overview | None = None
        self._refreshed = Refreshed(self._make)

    @property
    def window(self) -> int:
        """The window in seconds."""
        return min(WINDOW_SECONDS, self._parts.settings.aggregates.window_retention_seconds)

    async def get(self) -> Overview:
        """An overview that is some seconds old at most, if the workers answer.

        Raises:
            Problem: 503, while the time is not known.
        """
        return await self._refreshed.get()

    async def _make(self) -> Overview:
        now = current_time(self._parts.clock)
        known, fleets = await asyncio.gather(
            self._known_hosts.get(now),
            asyncio.gather(*(each.present() for each in self._fleets.values())),
        )
        snapshots = dict(zip(self._fleets, fleets, strict=True))
        outdated = [(name, part) for name, each in snapshots.items() for part in each.outdated]
        rows, changed = await self._rows(known, snapshots, outdated, now)
        start, end = max((each.start, each.end) for each in snapshots.values())
        last = self._last
        same = last and (last.start, last.end, last.outdated, last.problem) == (
            start,
            end,
            outdated,
            known.problem,
        )
        if last and same and not changed:
            self._last = replace(last, made_at=now)
            return self._last
        self._last = Overview(
            number=next(self._numbers),
            made_at=now,
            start=start,
            end=end,
            rows=rows,
            states=await self._count(rows),
            outdated=outdated,
            problem=known.problem,
        )
        return self._last

    async def _rows(
        self,
        known: KnownHosts,
        snapshots: Mapping[str, FleetSnapshot],
        outdated: Sequence[tuple[str, OutdatedPartitions]],
        now: int,
    ) -> tuple[dict[str, Row], bool]:
        before = self._last.rows if self._last else {}
        same = self._last is not None and self._last.outdated == outdated
        # Not only as long as their lines are: readings are stored meanwhile, and SQL knows the last ones of any host.
        known_until = {
            (name, partition): max(part.answered_at or 0, known.last_received_at.get(name, 0))
            for name, part in outdated
            for partition in part.partitions
        }
        rows: dict[str, Row] = {}
        changed = False
        hosts = dict.fromkeys(known.activities)
        for snapshot in snapshots.values():
            hosts.update(dict.fromkeys(snapshot.lines))
        nothing: dict[str, HostActivity] = {}
        async with self._parts.slices.computation() as computation:
            for host in hosts:
                await computation.pause()
                activities = known.activities.get(host, nothing)
                sources = [
                    (name, line, activity)
                    for name, snapshot in snapshots.items()
                    for line, activity in ((snapshot.lines.get(host), activities.get(name)),)
                    # What a host sent before it was removed does not make it a new one.
                    if activity is not None or (line is not None and (host, name) not in known.removed)
                ]
                row = before.get(host)
                if row is None or not same or row.valid_until < now or not _is_of(row, sources):
                    if not sources:
                        # Removed, or of plugins that are not installed.
                        continue
                    as_of: dict[str, int] = {}
                    if known_until:
                        partition = partition_of(host, self._parts.settings.broker.partitions)
                        as_of = {name: known_until.get((name, partition), now) for name in snapshots}
                    row, changed = self._row(sources, now, as_of, row.values if row else {}), True
                rows[host] = row
        return rows, changed or len(rows) != len(before)

    def _row(
        self,
        sources: Sequence[tuple[str, Line | None, HostActivity | None]],
        now: int,
        as_of: Mapping[str, int],
        before: Mapping[str, Value],
    ) -> Row:
        """The row of a host.

        Arguments:
            as_of: until when the readings of its partition are known, by NAME of the plugin; until now by default.
        """
        values: dict[str, Value] = {}
        valid_until = LATEST
        state: State
        for name, line, activity in sources:
            sent_at = min(line.total.last_at, now) if line else 0
            seen_at = max(sent_at, activity.last_received_at if activity else 0)
            silent_after = activity.silent_after + seen_at - activity.last_received_at if activity else LATEST
            by_thresholds = self._by_thresholds(name, line, seen_at, before.get(name))
            if now <= silent_after:
                state, valid_until = by_thresholds, min(valid_until, silent_after)
            elif silent_after < as_of.get(name, now):
                state = "silent"
            else:
                # Its partition is not up to date: it may have sent readings since.
                state, valid_until = "unknown", now
            values[name] = Value(state, by_thresholds, seen_at, line, activity)
        worst = min((each.state for each in values.values()), key=SEVERITY.__getitem__)
        silent = [each for each in values.values() if each.state == "silent"]
        return Row(worst, max(each.seen_at for each in silent or values.values()), values, valid_until)

    def _by_thresholds(self, plugin: str, line: Line | None, seen_at: int, before: Value | None) -> State:
        panel = self._panels[plugin]
        if line:
            return panel.state(line.headline.last)
        if not panel.thresholds:
            return "ok"
        # The last value is no longer in the window. It still is the last one if nothing was received since.
        if before and seen_at <= before.seen_at + span(KNOWN_SECONDS):
            return before.by_thresholds
        return "unknown"

    async def _count(self, rows: Mapping[str, Row]) -> dict[str, dict[State, int]]:
        numbers: Counter[tuple[str, State]] = Counter()
        async with self._parts.slices.computation() as computation:
            for row in rows.values():
                numbers["", row.state] += 1
                for name, value in row.values.items():
                    numbers[name, value.state] += 1
                await computation.pause()
        return {
            name: {state: numbers[name, state] for state in SEVERITY} for name in ("", *self._parts.plugins)
        }


def _is_of(row: Row, sources: Sequence[tuple[str, Line | None, HostActivity | None]]) -> bool:
    """Whether a row was made of the same objects."""
    values = row.values
    return len(values) == len(sources) and all(
        name in values and values[name].line is line and values[name].activity is activity
        for name, line, activity in sources
    )
