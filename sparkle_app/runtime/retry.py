"""Waiting out what may mend itself."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sparkle_app.model.errors import TransientError
from sparkle_app.runtime.metrics import Metrics, Stage

FIRST_WAIT = 0.1
MAX_WAIT = 5.0
T = TypeVar("T")

logger = logging.getLogger(__name__)


async def retry(stage: Stage, metrics: Metrics, attempt: Callable[[], Awaitable[T]]) -> T:
    """Call ``attempt`` until it does not raise :class:`TransientError`, waiting longer each time.

    Arguments:
        stage: for the log and the metric.
        attempt: must change nothing when it is repeated after it had already succeeded.
    """
    wait = FIRST_WAIT
    while True:
        try:
            return await attempt()
        except TransientError as fault:
            metrics.retries.labels(stage).inc()
            logger.warning("%s waits %.1f s and tries again: %s", stage, wait, fault)
        # Not all workers at once, when what they all wait for comes back.
        await asyncio.sleep(wait * random.uniform(0.8, 1.2))
        wait = min(wait * 2, MAX_WAIT)
