"""Retry with backoff."""

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
    """Call ``attempt`` until it does not raise :class:`TransientError`, and return its result.

    Arguments:
        stage: for the log and the metric.
        attempt: must be idempotent, since it may have succeeded before it raised.
    """
    wait = FIRST_WAIT
    while True:
        try:
            return await attempt()
        except TransientError as error:
            metrics.retries.labels(stage).inc()
            logger.warning("%s: retrying in %.1f s: %s", stage, wait, error)
        # Random, so that workers do not retry all at once.
        await asyncio.sleep(wait * random.uniform(0.8, 1.2))
        wait = min(wait * 2, MAX_WAIT)
