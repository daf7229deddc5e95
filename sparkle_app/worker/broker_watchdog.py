"""What a worker says while it runs: that it is ready, that the broker is away, and that it is back."""

import asyncio
import logging

from sparkle_app.kafka.membership import Membership

POLL_SECONDS = 1.0
REMINDER_SECONDS = 60.0

logger = logging.getLogger(__name__)


class BrokerWatchdog:
    """How long the broker has been silent, and what there is to say about it.

    It is counted in looks, not by a clock: a worker that was suspended has not listened.

    Arguments:
        broker: its address.
    """

    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._heard_at = 0.0
        self._silent = 0.0
        self._said_at: float | None = None

    def poll(self, last_heartbeat: float, grace_period: float) -> str | None:
        """To be called every POLL_SECONDS; returns the line to log, if it is time for one.

        Arguments:
            last_heartbeat: when the broker was heard last, by any clock.
            grace_period: seconds of silence that mean nothing.
        """
        silent, self._silent = self._silent, self._silent + POLL_SECONDS
        if last_heartbeat != self._heard_at:
            self._heard_at, self._silent = last_heartbeat, 0.0
            if self._said_at is None:
                return None
            self._said_at = None
            return f"the broker at {self._broker} answers again, after {silent:.0f} s"
        if self._silent < (grace_period if self._said_at is None else self._said_at + REMINDER_SECONDS):
            return None
        self._said_at = self._silent
        return (
            f"the broker at {self._broker} has not answered for {self._silent:.0f} s;"
            " this worker waits for it, and the records wait there"
        )


async def watch(group: Membership, broker: str) -> None:
    """Say once that the worker is ready, and when the broker is away and back, for as long as the worker runs.

    Arguments:
        broker: its address.
    """
    ready = False
    watchdog = BrokerWatchdog(broker)
    while True:
        if not ready and group.complete and group.in_session:
            ready = True
            logger.info("ready; the web answers at %s", group.url)
        if line := watchdog.poll(group.last_heartbeat, group.grace_period):
            logger.warning("%s", line)
        await asyncio.sleep(POLL_SECONDS)
