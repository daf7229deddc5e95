"""Record batches: the records of one partition that one fetch returned pass through Faust as one message.

Faust creates two tasks and makes a dozen calls for each message, which takes about a third of the time of an RSA
decryption. So records of plugin topics are delivered, and acknowledged, many at a time. So are those of changelog
topics, which are read in recovery.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from aiokafka import ConsumerRecord
from faust.types import TP, EventT
from faust.types.tuples import ConsumerMessage

from sparkle_app.kafka.record_sizes import weight
from sparkle_app.model.time import from_millis, to_seconds

Event = EventT[bytes]
Events = Sequence[Event]
Records = Sequence["ConsumerRecord[bytes, bytes]"]
MAX_BATCH_RECORDS = 250
"""In one record batch. Ten of them fill a batch of the default size. A large record counts as several, here and
wherever else a number of fetched records is limited (record_sizes.py)."""
MAX_BUFFERED_BATCHES = 64
"""Record batches in the buffer of a stream. Further records stay in the buffer of the Kafka client."""
T = TypeVar("T")


class RecordBatch(ConsumerMessage):
    """Records of one partition, in the order of their offsets. The offset of the batch is that of its last record.

    Arguments:
        records: at least one.
        generation: that of the consumer group when they were fetched.
    """

    def __init__(self, tp: TP, records: Records, generation: int) -> None:
        last = records[-1]
        super().__init__(
            tp.topic,
            tp.partition,
            last.offset,
            to_seconds(from_millis(last.timestamp)),
            last.timestamp_type,
            headers=None,
            key=None,
            value=None,
            checksum=None,
            tp=tp,
            generation_id=generation,
        )
        self.records = records
        self.weight = sum(map(weight, records))
        """As how many records the batch counts."""


def split_records(records: Records, max_records: int) -> list[Records]:
    """Split records, in order, into parts of at most ``max_records``. A record that counts as more is a part itself."""
    return list(_parts(records, weight, lambda: max_records))


def in_batches(events: Events, max_records: Callable[[], int]) -> Iterator[Events]:
    """Group events, in order, into batches.

    Arguments:
        max_records: returns the maximum number of records in a batch. A record batch that is larger forms a batch by
            itself.
    """
    return _parts(events, lambda event: _batch_of(event).weight, max_records)


def _parts(items: Iterable[T], weigh: Callable[[T], int], limit: Callable[[], int]) -> Iterator[list[T]]:
    part: list[T] = []
    total = 0
    for item in items:
        added = weigh(item)
        if part and total + added > limit():
            yield part
            part, total = [], 0
        part.append(item)
        total += added
    if part:
        yield part


def records_of(event: EventT[bytes]) -> Records:
    """The records in an event's record batch."""
    return _batch_of(event).records


def _batch_of(event: EventT[bytes]) -> RecordBatch:
    batch = event.message
    assert isinstance(batch, RecordBatch), f"expected a record batch, found a message of {batch.topic}"
    return batch
