"""Queries of the hosts that have sent readings, answered from SQL by any worker."""

import msgspec

from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.time import rfc3339, whole_seconds
from sparkle_app.storage.host_queries import select_page_of_hosts
from sparkle_app.web.api.host_lists import AFTER
from sparkle_app.web.api.parameters import DEFAULT_ENTRIES, LIMIT, choice, text
from sparkle_app.web.api.responses import Time
from sparkle_app.web.api.route import Route
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, current_time
from sparkle_app.web.queries import from_database


class HostActivityInfo(msgspec.Struct):
    """When a host sent readings of a plugin. Written once a minute."""

    plugin: str
    config_id: int
    """Of the reading that was received last."""
    first_received_at: Time
    last_received_at: Time
    first_observed_at: Time
    last_observed_at: Time
    interval_seconds: int | None
    """Usual time between its readings, at least 60; null: not known yet."""
    silent: bool
    """Whether nothing was received for more than three of these intervals (15 minutes if there is none)."""
    clock_offset_seconds: int | None
    """The local time that its last reading states, minus the time at which this was received, if the clock is not
    trusted: the UTC offset is a part of it, and so is a delay of the record; null: the clock is trusted."""


class KnownHost(msgspec.Struct):
    """A host, and when it sent readings of each plugin."""

    host: str
    plugins: list[HostActivityInfo]


class KnownHostsResponse(msgspec.Struct):
    """A page of hosts, by name."""

    hosts: list[KnownHost]
    next: str | None


class HostQueries:
    """Queries hosts."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts

    def route(self) -> Route:
        """The pages of hosts."""
        return Route(
            "/api/v1/hosts",
            "Hosts that have sent readings, and when they last did, from SQL",
            KnownHostsResponse,
            self.page,
            (
                text("plugin", "Only hosts that have sent readings of this plugin. Default: all plugins."),
                choice("state", "Only hosts of which a plugin is silent. Default: all hosts.", ["silent"]),
                choice("clock", "Only hosts whose clock is not trusted. Default: all hosts.", ["untrusted"]),
                LIMIT,
                AFTER,
            ),
            problems={503: "The database does not work at this moment, or the time is not known"},
        )

    async def page(
        self, plugin: str | None, state: str | None, clock: str | None, limit: int | None, after: str | None
    ) -> KnownHostsResponse:
        """One page of hosts.

        Arguments:
            after: the last host of the previous page.

        Raises:
            Problem: 400, when a parameter is invalid; 503, when the database does not work at this moment.
        """
        check_plugin(self._parts, plugin)
        limit = limit or DEFAULT_ENTRIES
        now = current_time(self._parts.clock)
        silent_at = now if state == "silent" else None
        found = await from_database(
            self._parts,
            lambda connection: select_page_of_hosts(
                connection, plugin, silent_at, limit + 1, after or "", untrusted_clock=clock is not None
            ),
        )
        hosts = [
            KnownHost(activities[0].hostname, [activity_info(each, now) for each in activities])
            for activities in found[:limit]
        ]
        return KnownHostsResponse(hosts, hosts[-1].host if len(found) > limit else None)


def activity_info(activity: HostActivity, now: int) -> HostActivityInfo:
    """The activity of a host as responses, and the command hosts, have it."""
    return HostActivityInfo(
        activity.plugin,
        activity.config_id,
        rfc3339(activity.first_received_at),
        rfc3339(activity.last_received_at),
        rfc3339(activity.first_observed_at),
        rfc3339(activity.last_observed_at),
        None if activity.interval is None else whole_seconds(activity.interval),
        activity.is_silent(now),
        None if activity.clock_offset is None else whole_seconds(activity.clock_offset),
    )


def check_plugin(parts: WebParts, plugin: str | None) -> None:
    """Check the parameter ``plugin``.

    Raises:
        Problem: 400, when the plugin is not installed.
    """
    if plugin is not None and plugin not in parts.plugins:
        raise Problem(400, f"plugin: expected one of {', '.join(parts.plugins)}, found {plugin!r}")
