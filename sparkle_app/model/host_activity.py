"""When hosts sent readings, and whether they have fallen silent."""

import msgspec

from sparkle_app.model.time import span

DEFAULT_INTERVAL = span(300)
"""Assumed of a host whose interval is not known yet: the collectors' default."""
_SHORTEST_INTERVAL = span(60)
_LONGEST_INTERVAL = span(7 * 86_400)
# The readings of one interval are sent one after another; a shorter pause between them is none between intervals.
_SHORTEST_PAUSE = span(30)
_SILENT_INTERVALS = 3


class HostActivity(msgspec.Struct):
    """When a host sent readings of a plugin. Times are microseconds since the epoch."""

    hostname: str
    plugin: str
    """NAME of the plugin."""
    config_id: int
    """Of the reading that was received last."""
    first_received_at: int
    last_received_at: int
    first_observed_at: int
    last_observed_at: int
    interval: int | None = None
    """Usual time between its readings, microseconds, at least a minute; None: not known yet."""
    clock_offset: int | None = None
    """Of the reading that was received last, if the host's clock was not trusted: the local time that it states, minus
    the time at which it was received, microseconds; None: the clock was trusted."""

    def add(
        self, config_id: int, received_at: int, observed_at: int, clock_offset: int | None = None
    ) -> None:
        """Take another reading into account."""
        if received_at >= self.last_received_at:
            self.last_received_at = received_at
            self.config_id = config_id
            self.clock_offset = clock_offset
        # Comparisons: this runs for every reading, and min() takes four times as long.
        if received_at < self.first_received_at:
            self.first_received_at = received_at
        if observed_at < self.first_observed_at:
            self.first_observed_at = observed_at
        if observed_at > self.last_observed_at:
            self.last_observed_at = observed_at

    @property
    def silent_after(self) -> int:
        """The host is silent after this time, three intervals after the last reading, unless it sends another one."""
        interval = DEFAULT_INTERVAL if self.interval is None else self.interval
        return self.last_received_at + _SILENT_INTERVALS * interval

    def is_silent(self, now: int) -> bool:
        """Whether it is later than :attr:`silent_after`."""
        return now > self.silent_after


def merged(earlier: HostActivity, later: HostActivity) -> HostActivity:
    """The activity of both times; ``later`` has no interval of its own.

    The interval is the longest of the recent pauses. It follows a longer pause at once, but at most fourfold or to 20
    minutes: a host that was off for a night has no interval of a night. It becomes shorter by the time that has passed
    without such a pause, not at once: the readings of one interval may be recorded in several parts.
    """
    both = msgspec.structs.replace(earlier)
    both.add(later.config_id, later.last_received_at, later.last_observed_at, later.clock_offset)
    both.first_received_at = min(both.first_received_at, later.first_received_at)
    both.first_observed_at = min(both.first_observed_at, later.first_observed_at)
    pause = later.first_received_at - earlier.last_received_at
    passed = later.last_received_at - earlier.last_received_at
    if pause < _SHORTEST_PAUSE:
        if passed < _SHORTEST_PAUSE:
            return both
        # It has sent readings all the time.
        pause = 0
    usual = DEFAULT_INTERVAL if earlier.interval is None else earlier.interval
    longest = max(
        min(pause, 4 * max(usual, DEFAULT_INTERVAL)), usual - passed, min(_hidden_pause(later), usual)
    )
    both.interval = min(max(longest, _SHORTEST_INTERVAL), _LONGEST_INTERVAL)
    return both


def _hidden_pause(activity: HostActivity) -> int:
    """How long a pause within an activity may have been; 0: too short to make a host seem silent."""
    length = activity.last_received_at - activity.first_received_at
    return length if length > 2 * _SHORTEST_INTERVAL else 0


def united(one: HostActivity, other: HostActivity) -> HostActivity:
    """The activity of a host that has used both names. The interval is the one under the name that was used last."""
    earlier, later = sorted((one, other), key=lambda each: each.last_received_at)
    both = msgspec.structs.replace(later)
    both.first_received_at = min(one.first_received_at, other.first_received_at)
    both.first_observed_at = min(one.first_observed_at, other.first_observed_at)
    both.last_observed_at = max(one.last_observed_at, other.last_observed_at)
    if both.interval is None:
        both.interval = earlier.interval
    return both
