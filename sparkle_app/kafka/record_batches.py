"""Bundles: what a fetch brought of one partition travels through Faust as one message.

Faust makes two tasks and a dozen calls of each message that it delivers, which takes about as long as a third of an RSA
decryption. So records of plugin topics are delivered many at a time, and acknowledged so; those of changelogs, which
are read when a worker takes partitions over, as well.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from aiokafka import ConsumerRecord
from faust.types import TP, EventT
from faust.types.tuples import ConsumerMessage

Events = Sequence[EventT[bytes]]
Records = Sequence["ConsumerRecord[bytes, bytes]"]
MAX_BATCH_RECORDS = 250
"""In a batch: ten of them are a batch of the default size."""
MAX_BUFFERED_BATCHES = 64
"""That wait in a stream; what a fetch brought beyond them stays with the client."""
T = TypeVar("T")


class RecordBatch(ConsumerMessage):
    """Records of one partition, in the order of their offsets; its offset is that of the last.

    Arguments:
        records: at least one.
        generation: of the consumer group, when they were fetched.
    """

    def __init__(self, tp: TP, records: Records, generation: int) -> None:
        last = records[-1]
        super().__init__(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000,
            last.timestamp_type,
            headers=None,
            key=None,
            value=None,
            checksum=None,
            tp=tp,
            generation_id=generation,
        )
        self.records = records


def split_records(records: Sequence[T], max_records: int) -> list[Sequence[T]]:
    """Records, as many at a time as a batch takes."""
    return [records[start : start + max_records] for start in range(0, len(records), max_records)]


def in_batches(events: Events, max_records: int) -> Iterator[Events]:
    """Bundles' events, in order, in batches of at most ``most`` records; a larger batch is a batch of its own."""
    batch: list[EventT[bytes]] = []
    size = 0
    for event in events:
        number = len(records_of(event))
        if batch and size + number > max_records:
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += number
    if batch:
        yield batch


def records_of(event: EventT[bytes]) -> Records:
    """The records of a batch's event."""
    batch = event.message
    assert isinstance(batch, RecordBatch), f"expected a batch, found a message of {batch.topic}"
    return batch.records
