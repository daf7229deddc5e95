"""Limits what is produced or logged for one cause, so that one defective sensor cannot fill a topic or a disk."""

import time
from collections.abc import Callable, Hashable

_WINDOW_SECONDS = 60.0
_MAX_CAUSES = 100_000


class CauseLimit:
    """Allows a number of dead letters, or lines in the log, per cause and minute.

    Arguments:
        per_minute: of each cause.
        clock: seconds, monotonic.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        # The start of the cause's present minute, and how many there were in it.
        self._counts: dict[Hashable, tuple[float, int]] = {}

    def allows(self, cause: Hashable) -> bool:
        """Count one more of this cause; whether it is within the limit."""
        now = self._clock()
        start, count = self._counts.get(cause, (now, 0))
        if now - start >= _WINDOW_SECONDS:
            start, count = now, 0
        if count == 0 and len(self._counts) >= _MAX_CAUSES:
            self._forget(now)
        self._counts[cause] = start, count + 1
        return count < self._per_minute

    def _forget(self, now: float) -> None:
        recent = {
            cause: (start, count)
            for cause, (start, count) in self._counts.items()
            if now - start < _WINDOW_SECONDS
        }
        # With more causes in one minute, the limit starts over rather than memory grows.
        self._counts = recent if len(recent) < _MAX_CAUSES else {}
