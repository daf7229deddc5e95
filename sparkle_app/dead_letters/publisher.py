"""The dead-letter publisher: produces dead letters and tombstones, and limits the number of each cause."""

import logging
from collections.abc import Sequence

from sparkle_app.dead_letters.message import (
    dead_letter_headers,
    dead_letter_key,
    dead_letter_value,
    quoted,
    sender_of,
)
from sparkle_app.kafka.publisher import Message, TopicPublisher
from sparkle_app.model.errors import Reason
from sparkle_app.model.record import Outcome, Rejection
from sparkle_app.runtime.cause_limit import CauseLimit
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.runtime.terminal import counted
from sparkle_app.sealed.cipher import Cipher

logger = logging.getLogger(__name__)
_MAX_LINES = 10
"""About the dead letters of one topic and reason, per minute."""
_MAX_ERROR = 500
"""Characters of an error, in the log. A plugin may have written it."""
_REPAIRABLE = {
    Reason.UNKNOWN_CONFIG,
    Reason.UNDECRYPTABLE,
    Reason.UNKNOWN_PLUGIN,
    Reason.REFUSED_BY_DATABASE,
    Reason.TOO_MANY_METRICS,
}
"""Such records become readings once the key, the plugin, the table or the limit is corrected. They are not limited."""


class DeadLetterPublisher:
    """Produces dead letters and tombstones.

    Arguments:
        publisher: publisher of the dead-letter topic.
        limit: how many dead letters of one cause are produced.
        cipher: encrypts the causes.
    """

    def __init__(
        self, publisher: TopicPublisher, limit: CauseLimit, metrics: Metrics, cipher: Cipher
    ) -> None:
        self._publisher = publisher
        self._limit = limit
        self._metrics = metrics
        self._cipher = cipher
        self._logged = CauseLimit(1)
        self._lines = CauseLimit(_MAX_LINES)

    def within_limit(self, rejections: Sequence[Rejection]) -> list[Rejection]:
        """Those for which a dead letter has to be produced. The others have a cause of which there are enough.

        They are counted in ``sparkle_dead_letters_suppressed``.
        """
        produced = []
        for rejection in rejections:
            record, error = rejection
            # A hash: hostname and config_id may be of any length.
            cause = hash((record.topic, error.reason, sender_of(record.value), error.plugin, error.metric))
            if error.reason in _REPAIRABLE or record.replayed or self._limit.allows(cause):
                produced.append(rejection)
                continue
            self._metrics.dead_letters_suppressed.labels(error.reason).inc()
            if self._logged.allows((record.topic, error.reason)):
                logger.warning(
                    "more than dead_letters.per_cause dead letters of one cause in a minute: further ones are counted"
                    " in sparkle_dead_letters_suppressed_total but not produced; for example %s",
                    _described(rejection),
                )
        return produced

    async def send(self, rejections: Sequence[Rejection]) -> None:
        """Produce a dead letter for each rejection, and wait for the broker's acknowledgement.

        Raises:
            TransientError: if the broker did not acknowledge all of them; some may have been written.
        """
        await self._publisher.publish(
            Message(
                dead_letter_value(record, self._publisher.max_message_bytes),
                dead_letter_key(record, error.index),
                dead_letter_headers(record, error, self._cipher),
            )
            for record, error in rejections
        )
        by_cause: dict[tuple[str, str], list[Rejection]] = {}
        for rejection in rejections:
            record, error = rejection
            self._metrics.dead_letters.labels(error.reason).inc()
            by_cause.setdefault((record.topic, str(error)), []).append(rejection)
        for (topic, _), same in by_cause.items():
            reason = same[0].error.reason
            if not self._lines.allows((topic, reason)):
                if self._logged.allows((topic, reason, "lines")):
                    logger.warning(
                        "more than %d lines about dead letters from topic %s (%s) in a minute: further ones are counted"
                        " in sparkle_dead_letters_total but not logged",
                        _MAX_LINES,
                        quoted(topic),
                        reason,
                    )
                continue
            number = counted(len(same), "dead letter")
            first = "the first " if len(same) > 1 else ""
            logger.warning("%s from topic %s, %s%s", number, quoted(topic), first, _described(same[0]))

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


def _described(rejection: Rejection) -> str:
    record, error = rejection
    metric = f", plugin {quoted(error.plugin)}, metric {quoted(error.metric)}" if error.plugin else ""
    return (
        f"at partition {record.partition}, offset {record.offset}, host"
        f" {quoted(sender_of(record.value).hostname)}{metric}: {str(error)[:_MAX_ERROR]}"
    )
