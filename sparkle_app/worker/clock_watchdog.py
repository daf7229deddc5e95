"""The clock watchdog: notices steps of the clock, and has the tables restored after one backwards."""

import asyncio

from sparkle_app.kafka.membership import Membership
from sparkle_app.runtime.clock import WallClock

POLL_SECONDS = 1.0


async def watch_clock(clock: WallClock, group: Membership) -> None:
    """Poll as long as the worker runs.

    If the clock was ahead for long, buckets were pruned that are needed again. After a rebalance, they are restored
    from stored readings.
    """
    while True:
        await asyncio.sleep(POLL_SECONDS)
        step = clock.believe()
        if step is not None and step < 0:
            await group.rejoin()
