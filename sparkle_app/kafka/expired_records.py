"""Records that retention deleted before they were consumed."""

import logging
from collections.abc import Callable

from faust.types import TP

logger = logging.getLogger(__name__)


class ExpiredRecords:
    """Compares the next offset to consume of each partition with the start of its log.

    Arguments:
        count: called with a topic and the number of its records that were deleted.
    """

    def __init__(self, count: Callable[[str, int], None]) -> None:
        self._count = count
        self._next: dict[TP, int] = {}
        self._reported: dict[TP, int] = {}

    def seek(self, tp: TP, offset: int) -> None:
        """Note the offset from which a partition is consumed next."""
        self._next[tp] = offset

    def is_gap(self, tp: TP, offset: int) -> bool:
        """Whether offsets are missing before a record that was fetched: deleted ones, or those of transactions."""
        return offset > self._next.get(tp, offset)

    def compare(self, tp: TP, start: int) -> None:
        """Report the records between the next offset and the start of the log, each of them once."""
        expected = max(self._next.get(tp, start), self._reported.get(tp, 0))
        if start <= expected:
            return
        self._reported[tp] = start
        self._count(tp.topic, start - expected)
        logger.error(
            "topic %s, partition %d: retention deleted %d records (offsets %d to %d) before they were read: they are"
            " lost; make retention.ms longer than the longest outage, and see the lag of the consumer group",
            tp.topic, tp.partition, start - expected, expected, start - 1,
        )  # fmt: skip
