"""Whether the logs on the broker are still those that were consumed.

A broker that comes back from an older copy of its data, or empty, has shorter logs. Its new records get the offsets of
records that were consumed before, so a consumer that continues at its position would skip them.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError
from faust.types import TP

from sparkle_app.config.sections import BrokerSettings
from sparkle_app.kafka.connection import security_arguments
from sparkle_app.kafka.fetched_batches import accept_any_batch

_MAX_MARKS = 100
_TIMEOUT_MS = 5_000


class Mark(NamedTuple):
    """What identifies a consumed record."""

    offset: int
    timestamp: int
    checksum: int


class ConsumedLogs:
    """The last record consumed of each partition; several since the connection was lost."""

    def __init__(self) -> None:
        self._marks: dict[TP, list[Mark]] = {}
        self.lost_connections = 0
        """How many connections to brokers were lost."""
        self.verified = 0
        """How many had been lost before the last check that found the logs unchanged."""

    @property
    def unverified(self) -> bool:
        """Whether a connection was lost since then."""
        return self.lost_connections != self.verified

    def consumed(self, tp: TP, records: Sequence[Any]) -> None:
        """Note the last of the records that a fetch returned."""
        mark = mark_of(records[-1])
        if not self.unverified:
            self._marks[tp] = [mark]
        elif len(marks := self._marks.setdefault(tp, [])) < _MAX_MARKS:
            marks.append(mark)

    def clear(self) -> None:
        """Called when partitions are assigned: they are consumed from the offsets that this broker has committed."""
        self._marks.clear()

    def marks(self) -> dict[TP, list[Mark]]:
        """A copy of what was noted."""
        return {tp: list(marks) for tp, marks in self._marks.items()}


def mark_of(record: Any) -> Mark:
    """What identifies this record."""
    return Mark(record.offset, record.timestamp, zlib.crc32(record.value or b""))


async def replaced_logs(broker: BrokerSettings, marks: Mapping[TP, Sequence[Mark]]) -> dict[TP, str]:
    """The partitions whose logs do not contain the records that were consumed, with what was expected and found.

    Records that log retention or compaction has deleted prove nothing.

    Raises:
        KafkaError: if the broker does not answer.
    """
    accept_any_batch()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.url,
        **security_arguments(broker),
        enable_auto_commit=False,
        request_timeout_ms=_TIMEOUT_MS,
    )
    try:
        await consumer.start()
        return await compare(consumer, marks)
    finally:
        await consumer.stop()


async def compare(consumer: Any, marks: Mapping[TP, Sequence[Mark]]) -> dict[TP, str]:
    """As :func:`replaced_logs`, with a consumer without a group."""
    partitions = [TopicPartition(*tp) for tp in marks]
    consumer.assign(partitions)
    starts, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    replaced: dict[TP, str] = {}
    for at in partitions:
        tp = TP(*at)
        for mark in _retained(marks[tp], starts[at]):
            found = "the end of the log" if mark.offset >= ends[at] else await _other(consumer, at, mark)
            if found:
                replaced[tp] = f"the record at offset {mark.offset} that was consumed, found {found}"
                break
    return replaced


def _retained(marks: Iterable[Mark], start: int) -> Iterable[Mark]:
    return (mark for mark in marks if mark.offset >= start)


async def _other(consumer: Any, at: TopicPartition, mark: Mark) -> str | None:
    """What the log has instead of the record; None if it has it, or none at its offset."""
    consumer.seek(at, mark.offset)
    fetched = await consumer.getmany(at, timeout_ms=_TIMEOUT_MS, max_records=1)
    records = fetched.get(at)
    if not records and await consumer.position(at) == mark.offset:
        # Not even what follows a record that compaction has deleted: this says nothing about the log.
        raise KafkaTimeoutError(f"no record of {at.topic} within {_TIMEOUT_MS // 1000} s")
    if not records or records[0].offset != mark.offset or mark_of(records[0]) == mark:
        return None
    return "another record"
