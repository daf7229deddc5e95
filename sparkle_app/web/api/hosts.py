"""Queries of the hosts that have sent readings, answered from SQL by any worker."""

from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.time import rfc3339
from sparkle_app.storage.hosts import select_page_of_hosts
from sparkle_app.web.api import responses
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, current_time
from sparkle_app.web.queries import from_database


class HostQueries:
    """Queries hosts."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts

    def check(self, plugin: str | None) -> None:
        """Check the parameter ``plugin``.

        Raises:
            Problem: 400, when the plugin is not installed.
        """
        if plugin is not None and plugin not in self._parts.plugins:
            raise Problem(400, f"plugin: expected one of {', '.join(self._parts.plugins)}, found {plugin!r}")

    async def page(
        self, plugin: str | None, state: str | None, clock: str | None, limit: int, after: str
    ) -> responses.KnownHostsResponse:
        """One page of hosts.

        Arguments:
            after: the last host of the previous page.

        Raises:
            Problem: 400, when a parameter is invalid; 503, when the database does not work at this moment.
        """
        self.check(plugin)
        now = current_time(self._parts.clock)
        silent_at = now if state == "silent" else None
        found = await from_database(
            self._parts,
            lambda connection: select_page_of_hosts(
                connection, plugin, silent_at, limit + 1, after, untrusted_clock=clock is not None
            ),
        )
        hosts = [
            responses.KnownHost(activities[0].hostname, [_activity(each, now) for each in activities])
            for activities in found[:limit]
        ]
        return responses.KnownHostsResponse(hosts, hosts[-1].host if len(found) > limit else None)


def _activity(activity: HostActivity, now: int) -> responses.HostActivity:
    return responses.HostActivity(
        activity.plugin,
        activity.config_id,
        rfc3339(activity.first_received_at),
        rfc3339(activity.last_received_at),
        rfc3339(activity.first_observed_at),
        rfc3339(activity.last_observed_at),
        None if activity.interval is None else activity.interval // 1_000_000,
        activity.is_silent(now),
        None if activity.clock_offset is None else activity.clock_offset // 1_000_000,
    )
