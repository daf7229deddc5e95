"""The watchdog: logs when the broker is unreachable, and when it answers again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sparkle_app.kafka.membership import Membership

POLL_SECONDS = 1.0
REMINDER_SECONDS = 60.0

logger = logging.getLogger(__name__)


class BrokerWatchdog:
    """How long the broker has not answered, and what to log about it.

    Time is counted in polls, not by a clock: while a worker is suspended, no time passes for the watchdog.

    Arguments:
        broker: its address, for the log.
    """

    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._last_heartbeat = 0.0
        self._unanswered = 0.0
        self._reported_at: float | None = None

    @property
    def unreachable(self) -> bool:
        """Whether it has been reported that the broker does not answer."""
        return self._reported_at is not None

    def poll(self, last_heartbeat: float, grace_period: float) -> str | None:
        """Compare the last heartbeat with that of the previous poll. Must be called every POLL_SECONDS.

        Arguments:
            last_heartbeat: time of the last answered heartbeat, by any clock.
            grace_period: seconds without a heartbeat after which the broker counts as unreachable.

        Returns:
            The line to log, or None.
        """
        unanswered, self._unanswered = self._unanswered, self._unanswered + POLL_SECONDS
        if last_heartbeat != self._last_heartbeat:
            self._last_heartbeat, self._unanswered = last_heartbeat, 0.0
            if self._reported_at is None:
                return None
            self._reported_at = None
            return f"the broker at {self._broker} answers again after {unanswered:.0f} s"
        due = grace_period if self._reported_at is None else self._reported_at + REMINDER_SECONDS
        if self._unanswered < due:
            return None
        self._reported_at = self._unanswered
        return f"the broker at {self._broker} has not answered for {self._unanswered:.0f} s; waiting for it"


async def watch(group: Membership, broker: str, explain: Callable[[], Awaitable[str]]) -> None:
    """Poll the consumer as long as the worker runs, and log changes.

    Arguments:
        broker: its address, for the log.
        explain: returns why the broker cannot be used, or an empty string.
    """
    watchdog = BrokerWatchdog(broker)
    while True:
        # A broker that refuses the worker answers.
        if not group.refusal and (line := watchdog.poll(group.last_heartbeat, group.grace_period)):
            cause = await explain() if watchdog.unreachable else ""
            logger.warning("%s", f"{line}: {cause}" if cause else line)
        await asyncio.sleep(POLL_SECONDS)
