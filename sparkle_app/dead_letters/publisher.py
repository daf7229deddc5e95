"""The dead-letter topic: records that can never be readings, as they came (still ciphertext), with the reason."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from sparkle_app.dead_letters.message import letter_headers, letter_key, letter_value
from sparkle_app.kafka.publisher import Message, TopicPublisher
from sparkle_app.model.errors import Reason
from sparkle_app.model.record import Outcome, Record, Rejection
from sparkle_app.runtime.metrics import Metrics

logger = logging.getLogger(__name__)


# What a wrong or missing key makes of good records.
_KEY_REASONS = {Reason.UNKNOWN_CONFIG, Reason.UNDECRYPTABLE}


class TooManyDeadLetters(Exception):
    """The circuit breaker: so many dead letters that the handler rather than the records must be wrong."""


class DeadLetterOffice:
    """Sends bad records to the dead-letter topic.

    Arguments:
        publisher: writes to the dead-letter topic.
        per_minute: how many letters a minute are taken for the records' own fault.
        clock: seconds, monotonic.
        recent: letters of the last minute, by whomever: a worker that is started again has not forgotten them.
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

    def admit(self, letters: Sequence[Rejection], records: int) -> None:
        """Look at a batch's letters, and count them against the limit, before any of them is sent.

        Arguments:
            records: how many the batch has, good ones among them.

        Raises:
            TooManyDeadLetters: when no key opens nine tenths of the batch, and these are at least a tenth of
                ``per_minute``: they come again when the worker is started again, and stop it again. Or when there were
                more than ``per_minute`` letters in the last minute.
        """
        unopened = [letter for letter in letters if letter.error.reason in _KEY_REASONS]
        if len(unopened) * 10 >= max(self._per_minute, 9 * records):
            raise TooManyDeadLetters(
                f"certs: expected the keys of what is sent, found none for {len(unopened)} of {records} records that"
                f" came together, the last of them {_said(unopened[-1])}; put the right keys there and start again:"
                " nothing is lost, none of these records became a dead letter (docs/operations.md says how they can)"
            )
        now = self._clock()
        while self._recent and self._recent[0] <= now - 60:
            self._recent.popleft()
        self._recent.extend(now for _ in letters)
        if len(self._recent) > self._per_minute:
            raise TooManyDeadLetters(
                f"dead_letters.per_minute: expected at most {self._per_minute} dead letters a minute, found"
                f" {len(self._recent)}, the last of them {_said(letters[-1])}; mend the cause and start again: nothing"
                " is lost, these records were not acknowledged"
            )

    async def send(self, letters: Sequence[Rejection]) -> None:
        """Send letters and wait for the broker's acknowledgement.

        Raises:
            TransientFault: when the broker did not acknowledge; some letters may have been sent.
        """
        await self._publisher.publish(
            Message(letter_value(record), letter_key(record, bad.index), letter_headers(record, bad))
            for record, bad in letters
        )
        alike: dict[tuple[str, str], list[Record]] = {}
        for record, bad in letters:
            self._metrics.dead_letters.labels(bad.reason).inc()
            alike.setdefault((record.topic, str(bad)), []).append(record)
        for (topic, why), records in alike.items():
            logger.warning(
                "%d dead letters from topic %s, the first from partition %d, offset %d: %s",
                len(records), topic, records[0].partition, records[0].offset, why,
            )  # fmt: skip

    async def withdraw(self, outcomes: Sequence[Outcome]) -> None:
        """Take back the letters of replayed records that became rows after all.

        Raises:
            TransientFault: as :meth:`send`.
        """
        await self._publisher.publish(
            Message(None, letter_key(outcome.record, index))
            for outcome in outcomes
            for index in outcome.resolved
        )


def _said(letter: Rejection) -> str:
    record, bad = letter
    return f"for {bad} ({record.topic}, partition {record.partition}, offset {record.offset})"
