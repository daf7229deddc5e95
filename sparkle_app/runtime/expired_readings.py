"""Counts and logs readings that are not stored, or not counted, because they are older than the retention period."""

import logging
import time
from collections.abc import Callable, Sequence

from sparkle_app.model.retention import ExpiredReading, ExpiredReason
from sparkle_app.model.time import rfc3339
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.runtime.terminal import counted

LOG_SECONDS = 60.0
"""At most one line for each reason in this time."""
_CAUSES = {
    ExpiredReason.LATE: "not stored: older than the retention period",
    ExpiredReason.CLOCK: (
        "not stored: older than the retention period, although earlier records are not; correct the clock of the host,"
        " unless somebody produced them again"
    ),
    ExpiredReason.REPLAY: "not stored: older than the retention period",
    ExpiredReason.UNCOUNTED: (
        "missing in aggregates, unless counted before: retention deleted them before their samples were read; add"
        " workers, or keep readings for longer"
    ),
}

logger = logging.getLogger(__name__)


class ExpiredReadings:
    """Counts expired readings in a metric, and logs the first of each reason, then their number once in a while.

    Arguments:
        clock: seconds, monotonic.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._logged_at: dict[ExpiredReason, float] = {}
        self._numbers = dict.fromkeys(ExpiredReason, 0)

    def note(self, expired: Sequence[ExpiredReading]) -> None:
        """Count readings whose batch has been stored."""
        examples: dict[ExpiredReason, ExpiredReading] = {}
        for each in expired:
            self._metrics.expired_readings.labels(each.plugin, each.reason).inc()
            self._numbers[each.reason] += 1
            examples.setdefault(each.reason, each)
        now = self._clock()
        for reason, example in examples.items():
            logged_at = self._logged_at.get(reason)
            if logged_at is None or now - logged_at >= LOG_SECONDS:
                self._log(self._numbers[reason], example)
                self._logged_at[reason], self._numbers[reason] = now, 0

    def _log(self, number: int, example: ExpiredReading) -> None:
        logger.warning(
            "%s %s; for example %s %s of %s at %s (%s), kept since %s",
            counted(number, "reading"),
            _CAUSES[example.reason],
            example.plugin,
            example.metric,
            example.hostname,
            rfc3339(example.observed_at),
            example.reason,
            rfc3339(example.kept_since),
        )
