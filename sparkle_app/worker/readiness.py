"""Logs when the worker is ready: when all health checks succeed, as ``/health/ready`` has it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sparkle_app.kafka.membership import Membership
from sparkle_app.web.health import Health

POLL_SECONDS = 1.0

logger = logging.getLogger(__name__)


async def log_ready(group: Membership, check: Callable[[], Awaitable[Health]]) -> None:
    """Poll until the worker is ready, and log it; before that, log once what a worker that consumes is waiting for."""
    explained = False
    while True:
        if group.complete and group.in_session:
            health = await check()
            if health.ready:
                logger.info("ready; serving HTTP at %s", group.url)
                return
            if not explained:
                explained = True
                failed = "; ".join(
                    f"{name}: {state}" for name, state in health.checks.items() if state != "ok"
                )
                logger.warning("consuming; serving HTTP at %s; not ready: %s", group.url, failed)
        await asyncio.sleep(POLL_SECONDS)
