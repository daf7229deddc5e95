"""Retry with backoff."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sparkle_app.model.errors import TransientError
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.runtime.stages import Stage

FIRST_WAIT = 0.1
MAX_WAIT = 5.0
REMINDER_SECONDS = 60.0
T = TypeVar("T")

logger = logging.getLogger(__name__)


async def retry(stage: Stage, metrics: Metrics, attempt: Callable[[], Awaitable[T]]) -> T:
    """Call ``attempt`` until it does not raise :class:`TransientError`, and return its result.

    The log gets a line for the first failure, for each other cause and every minute, and one for the success.

    Arguments:
        stage: for the log, the metrics and the health check.
        attempt: must be idempotent, since it may have succeeded before it raised.
    """
    wait = FIRST_WAIT
    logged_at = 0.0
    with metrics.stage(stage) as run:
        clock = metrics.stages.clock
        while True:
            try:
                result = await attempt()
                break
            except TransientError as error:
                metrics.retries.labels(stage).inc()
                if str(error) != run.error or clock() - logged_at >= REMINDER_SECONDS:
                    logged_at = clock()
                    state = f"still failing after {logged_at - run.began:.0f} s" if run.error else "failed"
                    run.error = str(error)
                    logger.warning("stage %s: %s, retrying: %s", stage, state, error)
            # Random, so that workers do not retry all at once.
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))
            wait = min(wait * 2, MAX_WAIT)
        if run.error:
            logger.warning("stage %s: succeeded after %.1f s", stage, clock() - run.began)
        return result
