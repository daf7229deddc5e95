"""When hosts sent readings, and whether they have fallen silent."""

import msgspec

_SECOND = 1_000_000
DEFAULT_INTERVAL = 300 * _SECOND
"""Assumed of a host that has sent readings only once: the collectors' default."""
_SHORTEST_INTERVAL = 60 * _SECOND
# Readings of one interval are sent one after another, and may be recorded in two parts.
_SHORTEST_GAP = 30 * _SECOND
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
    """Usual time between its readings, microseconds, at least a minute; None: it has sent readings only once."""

    def add(self, config_id: int, received_at: int, observed_at: int) -> None:
        """Take another reading into account."""
        if received_at >= self.last_received_at:
            self.last_received_at = received_at
            self.config_id = config_id
        self.first_received_at = min(self.first_received_at, received_at)
        self.first_observed_at = min(self.first_observed_at, observed_at)
        self.last_observed_at = max(self.last_observed_at, observed_at)

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

    The interval approaches the time between the last readings of both, by a quarter each time; a long pause counts as
    two intervals.
    """
    both = msgspec.structs.replace(earlier)
    both.add(later.config_id, later.last_received_at, later.last_observed_at)
    both.first_received_at = min(both.first_received_at, later.first_received_at)
    both.first_observed_at = min(both.first_observed_at, later.first_observed_at)
    gap = later.last_observed_at - earlier.last_observed_at
    if gap >= _SHORTEST_GAP:
        usual = gap if both.interval is None else both.interval
        both.interval = max(usual + (min(gap, 2 * usual) - usual) // 4, _SHORTEST_INTERVAL)
    return both
