"""The dead-letter topic: records that can never be readings, as they came (still ciphertext), with the reason."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from aiokafka.errors import KafkaError
from faust.types import TopicT

from sparkle_app.errors import BadRecord, TransientFault
from sparkle_app.metrics import Metrics
from sparkle_app.wire.envelope import Record

logger = logging.getLogger(__name__)


class TooManyDeadLetters(Exception):
    """The circuit breaker: so many dead letters that the handler rather than the records must be wrong."""


class DeadLetterOffice:
    """Sends bad records to the dead-letter topic.

    Arguments:
        topic: the dead-letter topic.
        per_minute: how many letters a minute are taken for the records' own fault.
        clock: seconds, monotonic.
    """

    def __init__(
        self, topic: TopicT, per_minute: int, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._topic = topic
        self._per_minute = per_minute
        self._metrics = metrics
        self._clock = clock
        self._recent: deque[float] = deque()

    def admit(self, letters: Sequence[tuple[Record, BadRecord]]) -> None:
        """Count letters against the limit, before any of them is sent.

        Raises:
            TooManyDeadLetters: when there were more than ``per_minute`` in the last minute.
        """
        now = self._clock()
        while self._recent and self._recent[0] <= now - 60:
            self._recent.popleft()
        self._recent.extend(now for _ in letters)
        if len(self._recent) > self._per_minute:
            record, bad = letters[-1]
            raise TooManyDeadLetters(
                f"dead_letters.per_minute: expected at most {self._per_minute} dead letters a minute, found"
                f" {len(self._recent)}, the last of them for {bad} ({record.topic}, partition {record.partition},"
                f" offset {record.offset}); mend the cause and start again: nothing is lost, these records were not"
                " acknowledged"
            )

    async def send(self, letters: Sequence[tuple[Record, BadRecord]]) -> None:
        """Send letters and wait for the broker's acknowledgement.

        Raises:
            TransientFault: when the broker did not acknowledge; some letters may have been sent.
        """
        try:
            await asyncio.gather(*[await self._send(record, bad) for record, bad in letters])
        except KafkaError as error:
            raise TransientFault(f"broker: {error!r}") from error
        for record, bad in letters:
            self._metrics.dead_letters.labels(bad.reason).inc()
            logger.warning(
                "dead letter from %s[%d]@%d: %s", record.topic, record.partition, record.offset, bad
            )

    async def _send(self, record: Record, bad: BadRecord) -> "asyncio.Future[object]":
        headers = {
            "sparkle-reason": bad.reason.value.encode(),
            "sparkle-topic": record.topic.encode(),
            "sparkle-partition": str(record.partition).encode(),
            "sparkle-offset": str(record.offset).encode(),
            "sparkle-timestamp": str(record.timestamp).encode(),
        }
        # The key names the source position: a letter that is sent again after a crash has the same.
        key = f"{record.topic}/{record.partition}/{record.offset}".encode()
        return await self._topic.send(key=key, value=record.value, headers=headers)  # type: ignore[return-value]
