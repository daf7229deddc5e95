"""The key watchdog: logs that records are held back, and has them read again once a private key decrypts them."""

import asyncio
import logging

from sparkle_app.ingest.decryption_pool import BrokenPoolError, DecryptionPool
from sparkle_app.ingest.key_breaker import KeyBreaker, named
from sparkle_app.kafka.membership import Membership

POLL_SECONDS = 5.0
REMINDER_SECONDS = 60.0

logger = logging.getLogger(__name__)


async def watch_keys(breaker: KeyBreaker, pool: DecryptionPool, group: Membership) -> None:
    """Poll as long as the worker runs.

    Held records are read again after a rebalance: consumption continues at the committed offsets.
    """
    logged, logged_at = "", 0.0
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(POLL_SECONDS)
        if not breaker.held:
            logged = ""
            continue
        # Also at once after another key was restored that is wrong as well.
        if breaker.state != logged or loop.time() - logged_at >= REMINDER_SECONDS:
            logged, logged_at = breaker.state, loop.time()
            some = next(iter(breaker.held.values()))
            logger.error(
                "%s while Kafka retains them, for example topic %s, partition %d, offset %d: restore the key in"
                " certs/; no restart is needed",
                breaker.state, some.topic, some.partition, some.offset,
            )  # fmt: skip
        try:
            released = breaker.release(await pool.decrypt(list(breaker.held.values())))
        except BrokenPoolError:
            # The next batch finds it, and the worker exits.
            continue
        if released:
            logger.warning(
                "a private key decrypts the records of config %s: reading them again", named(released)
            )
            await group.rejoin()
