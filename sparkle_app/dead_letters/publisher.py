"""The dead-rejection topic: records that can never be readings, as they came (still ciphertext), with the reason."""

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


# What a wrong or missing key makes of good records.
_KEY_REASONS = {Reason.UNKNOWN_CONFIG, Reason.UNDECRYPTABLE}


class CircuitBreakerError(Exception):
    """The circuit breaker: so many dead letters that the handler rather than the records must be wrong."""


class DeadLetterPublisher:
    """Sends bad records to the dead-rejection topic.

    Arguments:
        publisher: writes to the dead-rejection topic.
        per_minute: how many rejections a minute are taken for the records' own fault.
        clock: seconds, monotonic.
        recent: rejections of the last minute, by whomever: a worker that is started again has not forgotten them.
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

    def admit(self, rejections: Sequence[Rejection], records: int) -> None:
        """Look at a batch's rejections, and count them against the limit, before any of them is sent.

        Arguments:
            records: how many the batch has, good ones among them.

        Raises:
            CircuitBreakerError: when no key opens nine tenths of the batch, and these are at least a tenth of
                ``per_minute``: they come again when the worker is started again, and stop it again. Or when there were
                more than ``per_minute`` rejections in the last minute.
        """
        undecryptable = [rejection for rejection in rejections if rejection.error.reason in _KEY_REASONS]
        if len(undecryptable) * 10 >= max(self._per_minute, 9 * records):
            raise CircuitBreakerError(
                f"certs: expected private keys that decrypt the records, found none for {len(undecryptable)} of"
                f" {records} records of a batch, the last of them {_describe(undecryptable[-1])}; add the missing keys"
                " and start the worker again: no record is lost, and none of these became a dead letter"
                " (docs/operations.md describes how to skip them)"
            )
        now = self._clock()
        while self._recent and self._recent[0] <= now - 60:
            self._recent.popleft()
        self._recent.extend(now for _ in rejections)
        if len(self._recent) > self._per_minute:
            raise CircuitBreakerError(
                f"dead_letters.per_minute: expected at most {self._per_minute} dead letters per minute, found"
                f" {len(self._recent)}, the last of them {_describe(rejections[-1])}; fix the cause and start the"
                " worker again: no record is lost, these were not acknowledged"
            )

    async def send(self, rejections: Sequence[Rejection]) -> None:
        """Send rejections and wait for the broker's acknowledgement.

        Raises:
            TransientError: when the broker did not acknowledge; some rejections may have been sent.
        """
        await self._publisher.publish(
            Message(
                dead_letter_value(record),
                dead_letter_key(record, bad.index),
                dead_letter_headers(record, bad),
            )
            for record, bad in rejections
        )
        alike: dict[tuple[str, str], list[Record]] = {}
        for record, bad in rejections:
            self._metrics.dead_letters.labels(bad.reason).inc()
            alike.setdefault((record.topic, str(bad)), []).append(record)
        for (topic, why), records in alike.items():
            logger.warning(
                "%d dead letters from topic %s, the first from partition %d, offset %d: %s",
                len(records), topic, records[0].partition, records[0].offset, why,
            )  # fmt: skip

    async def delete_resolved(self, outcomes: Sequence[Outcome]) -> None:
        """Take back the rejections of replayed records that became rows after all.

        Raises:
            TransientError: as :meth:`send`.
        """
        await self._publisher.publish(
            Message(None, dead_letter_key(outcome.record, index))
            for outcome in outcomes
            for index in outcome.resolved
        )


def _describe(rejection: Rejection) -> str:
    record, bad = rejection
    return f"for {bad} ({record.topic}, partition {record.partition}, offset {record.offset})"
