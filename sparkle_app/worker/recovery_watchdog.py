"""The recovery watchdog: a recovery of tables never waits for records that will not come.

Faust discards fetched records when a rebalance interrupts it. If records of a changelog topic are among them, the
consumer has moved past them, and the recovery would wait for them without a limit. It would also wait for the last
record of a log that ends with the end of a transaction, which is no record that a consumer gets.

Faust ends the recovery for good if one of its steps takes longer than 90 s. Then the worker exits.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping

from faust.types import TP

from sparkle_app.kafka.membership import TableRecovery
from sparkle_app.runtime.process import exit_process

POLL_SECONDS = 5.0
EXIT_SECONDS = 120.0
# How often what did not arrive is read again.
_ATTEMPTS = 2

logger = logging.getLogger(__name__)


class RecoveryWatchdog:
    """Seeks back in changelog partitions whose records were fetched and did not arrive.

    Time is counted in polls, not by a clock: while a worker is suspended, no time passes for the watchdog.
    """

    def __init__(self, recovery: TableRecovery) -> None:
        self._recovery = recovery
        self._last: Mapping[TP, int] = {}
        self._without_progress = 0.0
        self._attempts = Counter[tuple[TP, int]]()

    async def poll(self) -> str | None:
        """Must be called every POLL_SECONDS.

        Returns:
            Why the worker has to exit: the recovery has ended for good, or makes no progress; None: it need not.
        """
        if self._recovery.ended:
            return (
                "exiting: table recovery has ended, because the broker did not answer in time; the next start waits for"
                " the broker"
            )
        remaining = dict(self._recovery.remaining())
        if not remaining or remaining != self._last:
            self._last, self._without_progress = remaining, 0.0
            return None
        self._without_progress += POLL_SECONDS
        lost = {}
        for tp, offset in remaining.items():
            position = await self._recovery.position(tp)
            if position is None or position <= offset + 1:
                continue
            self._attempts[tp, offset] += 1
            if self._attempts[tp, offset] <= _ATTEMPTS:
                lost[tp] = offset
            else:
                logger.warning(
                    "table recovery: %s/%d has no record after offset %d, although its log is longer: it is recovered",
                    tp.topic,
                    tp.partition,
                    offset,
                )
                self._recovery.skip(tp)
        if lost:
            names = ", ".join(f"{tp.topic}/{tp.partition}" for tp in sorted(lost))
            logger.warning(
                "table recovery: records of %s were fetched and discarded: reading them again", names
            )
            await self._recovery.seek({tp: offset + 1 for tp, offset in lost.items()})
        if self._without_progress < EXIT_SECONDS:
            return None
        names = ", ".join(f"{tp.topic}/{tp.partition}" for tp in sorted(remaining))
        return f"exiting: table recovery has read nothing of {names} for {self._without_progress:.0f} s"


async def watch_recovery(recovery: TableRecovery) -> None:
    """Poll as long as the worker runs."""
    watchdog = RecoveryWatchdog(recovery)
    while True:
        await asyncio.sleep(POLL_SECONDS)
        if reason := await watchdog.poll():
            exit_process(reason)
