"""The hosts that SQL knows, for overviews: nobody waits for long for a database that does not answer."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.time import span
from sparkle_app.storage.host_queries import select_hosts, select_removed
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem
from sparkle_app.web.queries import from_database
from sparkle_app.web.single_flight import SingleFlight

KNOWN_SECONDS = 60
"""Hosts are written to SQL once a minute."""
ANSWER_SECONDS = 5.0
"""Who asks waits so long for the database: half the time after which the page says that the connection is lost."""
_REMOVED_SECONDS = 3600
"""Of a host that was removed earlier, readings of before have left the window of the overview."""


@dataclass(frozen=True, kw_only=True)
class KnownHosts:
    """What SQL knows of all hosts. It must not be modified."""

    at: int = -span(KNOWN_SECONDS)
    """When they were requested, microseconds since the epoch."""
    activities: Mapping[str, Mapping[str, HostActivity]] = field(default_factory=dict)
    """By hostname and NAME of the plugin; without hosts that have been removed."""
    last_received_at: Mapping[str, int] = field(default_factory=dict)
    """Of any of these hosts, by NAME of the plugin, microseconds since the epoch."""
    removed: Collection[tuple[str, str]] = frozenset()
    """Hostname and NAME of the plugin of those that were removed recently, and have not sent a reading since."""
    problem: str = ""
    """Why they are not up to date; empty if they are."""


class KnownHostsView:
    """Loads the hosts once a minute, while somebody asks for them."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._known = KnownHosts()
        self._loading: SingleFlight[None] = SingleFlight(finish=True)

    async def get(self, now: int) -> KnownHosts:
        """The hosts of a minute ago at most; older ones, with the problem, if the database does not answer in time."""
        if 0 <= now - self._known.at < span(KNOWN_SECONDS):
            return self._known
        try:
            # A query that takes longer goes on; whoever asks next waits for the same one.
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._loading.run("", lambda: self._load(now))
        except TimeoutError:
            return replace(self._known, problem=f"database: no answer within {ANSWER_SECONDS:g} s")
        except Problem as problem:
            return replace(self._known, problem=problem.detail)
        return self._known

    async def _load(self, now: int) -> None:
        found, removed = await from_database(
            self._parts,
            lambda connection: (
                list(select_hosts(connection)),
                select_removed(connection, now - span(_REMOVED_SECONDS)),
            ),
        )
        known: dict[str, dict[str, HostActivity]] = {}
        last: dict[str, int] = {}
        async with self._parts.slices.computation() as computation:
            for each in found:
                before = self._known.activities.get(each.hostname, {}).get(each.plugin)
                # The same object, so that it is recognized.
                known.setdefault(each.hostname, {})[each.plugin] = before if before == each else each
                last[each.plugin] = max(last.get(each.plugin, 0), each.last_received_at)
                await computation.pause()
        self._known = KnownHosts(at=now, activities=known, last_received_at=last, removed=removed)
