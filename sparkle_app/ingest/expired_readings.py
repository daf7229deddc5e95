"""Counts and logs the readings that are not stored, because they are older than retention keeps them."""

import logging
import time
from collections.abc import Callable, Sequence

from sparkle_app.ingest.sql_writer import ExpiredReading
from sparkle_app.model.time import rfc3339
from sparkle_app.runtime.metrics import Metrics

LOG_SECONDS = 60.0
"""At most one line in this time."""

logger = logging.getLogger(__name__)


class ExpiredReadings:
    """Counts expired readings in a metric, and logs the first of them, then their number once in a while.

    Arguments:
        clock: seconds, monotonic.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._logged_at: float | None = None
        self._number = 0

    def note(self, expired: Sequence[ExpiredReading]) -> None:
        """Count readings whose batch has been stored."""
        for each in expired:
            self._metrics.expired_readings.labels(each.reading.plugin, each.reason).inc()
        self._number += len(expired)
        now = self._clock()
        if self._logged_at is not None and now - self._logged_at < LOG_SECONDS:
            return
        reading, reason, kept_since = expired[0]
        logger.warning(
            "%d readings were not stored: they are older than retention keeps them; for example %s %s of %s at %s (%s),"
            " kept since %s",
            self._number,
            reading.plugin,
            reading.key,
            reading.hostname,
            rfc3339(reading.observed_at),
            reason,
            rfc3339(kept_since),
        )
        self._logged_at, self._number = now, 0
