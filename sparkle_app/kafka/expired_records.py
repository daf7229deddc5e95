"""Records that Kafka's log retention deleted before they were consumed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress

from aiokafka.errors import KafkaError
from faust.types import TP

from sparkle_app.runtime.terminal import counted

logger = logging.getLogger(__name__)


class ExpiredRecords:
    """Compares the next offset to consume of each partition with the start of its log.

    Arguments:
        count: called with a topic and the number of its records that were deleted.
        log_starts: returns the first offset of each partition's log, or raises KafkaError or TimeoutError.
    """

    def __init__(
        self,
        count: Callable[[str, int], None],
        log_starts: Callable[[Collection[TP]], Awaitable[Mapping[TP, int]]],
    ) -> None:
        self._count = count
        self._log_starts = log_starts
        self._next: dict[TP, int] = {}
        self._reported: dict[TP, int] = {}
        self._reporting = asyncio.Lock()

    async def compare(self, committed: Mapping[TP, int]) -> None:
        """Report the records between the committed offsets, which are consumed next, and the start of the log.

        If the broker does not answer now, the first record that is fetched shows the gap.
        """
        self._next.update(committed)
        for tp, start in (await self._starts(committed)).items():
            self._report(tp, committed[tp], start)

    def fetched(self, tp: TP, first: int, last: int) -> range:
        """Note the offsets of the first and the last record that were fetched.

        Returns:
            The offsets that are missing before them: those of deleted records, or of transactions.
        """
        missing = range(self._next.get(tp, first), first)
        self._next[tp] = last + 1
        return missing

    async def report(self, missing: Mapping[TP, range]) -> None:
        """Report the deleted records among those that :meth:`fetched` has found missing."""
        # One after the other: the client executes only two calls at a time, and has to fetch.
        async with self._reporting:
            for tp, start in (await self._starts(missing)).items():
                # Log retention may have deleted records by now that were fetched.
                self._report(tp, missing[tp].start, min(start, missing[tp].stop))

    async def _starts(self, partitions: Collection[TP]) -> Mapping[TP, int]:
        with suppress(KafkaError, TimeoutError):
            if partitions:
                return await self._log_starts(partitions)
        return {}

    def _report(self, tp: TP, expected: int, start: int) -> None:
        """Report the records between two offsets, each of them once."""
        expected = max(expected, self._reported.get(tp, 0))
        if start <= expected:
            return
        self._reported[tp] = start
        self._count(tp.topic, start - expected)
        logger.error(
            "topic %s, partition %d: Kafka deleted %s (offsets %d to %d) before the worker read them: they are lost;"
            " set retention.ms longer than the longest outage, and monitor the lag of the consumer group",
            tp.topic, tp.partition, counted(start - expected, "record"), expected, start - 1,
        )  # fmt: skip
