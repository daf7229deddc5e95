"""The time of day, and steps of the system's clock."""

import logging
import time
from collections.abc import Callable

STEADY_SECONDS = 60.0
"""A step that has lasted for so long is believed."""
# Smaller corrections, such as those by NTP, matter little to buckets of a minute.
_TOLERANCE = 10.0
_READ_SECONDS = 1.0

logger = logging.getLogger(__name__)


def elapsed() -> float:
    """Seconds since the machine started, including those in which it was suspended."""
    # Outside of Linux, the monotonic clock counts them.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class WallClock:
    """The time of day. A step of the system's clock is followed only once it has lasted.

    Otherwise a clock that is wrong for a few seconds would make a worker drop buckets that are still needed.

    Arguments:
        wall: the system's clock, seconds since the epoch.
        elapsed: seconds, monotonic.
    """

    def __init__(
        self, wall: Callable[[], float] | None = None, elapsed: Callable[[], float] = elapsed
    ) -> None:
        self._wall = wall or time.time
        self._elapsed = elapsed
        self._offset = self._read()[1]
        # The offset after a step that is not believed yet, and since when the clock has had it.
        self._stepped: tuple[float, float] | None = None

    def now(self) -> float:
        """Seconds since the epoch; after a step as if there had been none, until it is believed."""
        elapsed = self._check()
        return self._offset + elapsed

    @property
    def in_doubt(self) -> bool:
        """Whether the clock has stepped, and it is not known yet whether it was right before, or is now."""
        self._check()
        return self._stepped is not None

    def believe(self) -> float | None:
        """Follow a step that has lasted for :data:`STEADY_SECONDS`.

        Returns:
            The size of the step in seconds; None if there is none to follow.
        """
        elapsed = self._check()
        if self._stepped is None or elapsed - self._stepped[1] < STEADY_SECONDS:
            return None
        step = self._stepped[0] - self._offset
        self._offset, self._stepped = self._stepped[0], None
        logger.warning(
            "the system clock has been stable for %.0f s since it jumped by %+.0f s: its time is now used",
            STEADY_SECONDS,
            step,
        )
        return step

    def _check(self) -> float:
        """Compare the system's clock with the monotonic one, of which the present time is returned."""
        elapsed, offset = self._read()
        step = offset - self._offset
        if abs(step) <= _TOLERANCE:
            self._offset = offset
            if self._stepped is not None:
                logger.warning("the system clock was corrected after %.0f s", elapsed - self._stepped[1])
                self._stepped = None
        elif self._stepped is None or abs(offset - self._stepped[0]) > _TOLERANCE:
            logger.warning(
                "the system clock jumped by %+.0f s: queries relative to the current time return 503 until it is"
                " corrected or has been stable for %.0f s; check the time synchronization (NTP) of this machine",
                step, STEADY_SECONDS,
            )  # fmt: skip
            self._stepped = offset, elapsed
        return elapsed

    def _read(self) -> tuple[float, float]:
        """The monotonic time, and the difference of the system's clock from it."""
        while True:
            before, wall, after = self._elapsed(), self._wall(), self._elapsed()
            # Otherwise the process was suspended in between.
            if after - before < _READ_SECONDS:
                return after, wall - after
