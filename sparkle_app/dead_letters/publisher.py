"""The dead-letter publisher: produces dead letters and tombstones, and contains the circuit breaker."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from sparkle_app.dead_letters.message import dead_letter_headers, dead_letter_key, dead_letter_value
from sparkle_app.kafka.publisher import Message, TopicPublisher
from sparkle_app.model.errors import Reason
from sparkle_app.model.record import Outcome, Record, Rejection
from sparkle_app.runtime.metrics import Metrics

logger = logging.getLogger(__name__)
# A wrong or missing private key gives valid records these reasons.
_KEY_REASONS = {Reason.UNKNOWN_CONFIG, Reason.UNDECRYPTABLE}


class CircuitBreakerError(Exception):
    """There are so many dead letters that the cause is probably the handler's configuration, not the records."""


class DeadLetterPublisher:
    """Produces dead letters and tombstones.

    Arguments:
        publisher: publisher of the dead-letter topic.
        per_minute: maximum number of dead letters per minute.
        clock: monotonic time in seconds.
        recent: dead letters of all workers in the last minute. They count against ``per_minute``, so a restart does
            not reset the limit.
    """

    def __init__(
        self,
        publisher: TopicPublisher,
        per_minute: int,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        recent: int = 0,
    ) -> None:
        self._publisher = publisher
        self._per_minute = per_minute
        self._metrics = metrics
        self._clock = clock
        self._recent: deque[float] = deque([clock()] * min(recent, per_minute))

    def check_circuit_breaker(self, rejections: Sequence[Rejection], records: int) -> None:
        """Count the rejections of a batch against the limits, before dead letters are produced for them.

        Arguments:
            records: number of records in the batch, including valid ones.

        Raises:
            CircuitBreakerError: if no private key decrypts nine tenths of the batch, and these are at least a tenth of
                ``per_minute``. After a restart the records are redelivered, and the worker exits again. Or if there
                were more than ``per_minute`` dead letters in the last minute.
        """
        undecryptable = [each for each in rejections if each.error.reason in _KEY_REASONS]
        if len(undecryptable) * 10 >= max(self._per_minute, 9 * records):
            raise CircuitBreakerError(
                f"certs: expected private keys that decrypt the records, found none for {len(undecryptable)} of"
                f" {records} records of a batch, the last one {_origin_and_reason(undecryptable[-1])};"
                " add the missing keys and restart the worker: no record is lost, and no dead letter was written for"
                " these (docs/operations.md describes how to skip them)"
            )
        now = self._clock()
        while self._recent and self._recent[0] <= now - 60:
            self._recent.popleft()
        self._recent.extend(now for _ in rejections)
        if len(self._recent) > self._per_minute:
            raise CircuitBreakerError(
                f"dead_letters.per_minute: expected at most {self._per_minute} dead letters per minute, found"
                f" {len(self._recent)}, the last one {_origin_and_reason(rejections[-1])}; fix the cause and restart"
                " the worker: no record is lost, these were not acknowledged"
            )

    async def send(self, rejections: Sequence[Rejection]) -> None:
        """Produce a dead letter for each rejection, and wait for the broker's acknowledgement.

        Raises:
            TransientError: if the broker did not acknowledge all of them; some may have been written.
        """
        await self._publisher.publish(
            Message(
                dead_letter_value(record),
                dead_letter_key(record, error.index),
                dead_letter_headers(record, error),
            )
            for record, error in rejections
        )
        by_cause: dict[tuple[str, str], list[Record]] = {}
        for record, error in rejections:
            self._metrics.dead_letters.labels(error.reason).inc()
            by_cause.setdefault((record.topic, str(error)), []).append(record)
        for (topic, cause), records in by_cause.items():
            logger.warning(
                "%d dead letters from topic %s, first at partition %d, offset %d: %s",
                len(records), topic, records[0].partition, records[0].offset, cause,
            )  # fmt: skip

    async def delete_resolved(self, outcomes: Sequence[Outcome]) -> None:
        """Produce tombstones for the dead letters of replayed records that are now stored.

        Raises:
            TransientError: as :meth:`send`.
        """
        await self._publisher.publish(
            Message(None, dead_letter_key(outcome.record, index))
            for outcome in outcomes
            for index in outcome.resolved
        )


def _origin_and_reason(rejection: Rejection) -> str:
    record, error = rejection
    return f"from topic {record.topic}, partition {record.partition}, offset {record.offset} ({error})"
