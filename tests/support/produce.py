"""Producing to and consuming from topics, without any code of the handler."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

Headers = list[tuple[str, bytes]]
_ANY_PARTITION = -1
_NOW = 0


@dataclass(frozen=True)
class Record:
    """A record as the broker returns it; ``timestamp`` in milliseconds since 1970."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Headers


def create_topic(bootstrap: str, topic: str, partitions: int = 1, **config: str) -> None:
    """Create a topic. In names of ``config``, an underscore stands for a dot."""
    new = NewTopic(
        topic, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()}
    )
    # Keep a reference until the response arrives.
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([new])[topic].result(20)


def produce(
    bootstrap: str,
    topic: str,
    values: Sequence[bytes],
    timestamps: Sequence[int] | None = None,
    partition: int | None = None,
    headers: Headers | None = None,
    compression: str = "none",
) -> list[tuple[int, int]]:
    """Produce ``values``, and wait until the broker has acknowledged all of them.

    Arguments:
        timestamps: timestamp of each value in milliseconds since 1970; by default the current time.
        partition: partition for all values; by default the client's choice.
        compression: compression type.

    Returns:
        Partition and offset of each value, in the order of ``values``.
    """
    positions: dict[int, tuple[int, int]] = {}
    failed: list[str] = []

    def note(index: int, error: object, message: Message) -> None:
        if error:
            failed.append(f"{index}: {error}")
        else:
            positions[index] = (_int(message.partition()), _int(message.offset()))

    # Keeps the order of the values within a partition, even if the client retries.
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "max.in.flight": 1,
            "linger.ms": 5,
            "compression.type": compression,
            # The limit of the broker applies, to the compressed size.
            "message.max.bytes": 1_000_000 if compression == "none" else 100_000_000,
        }
    )
    for index, value in enumerate(values):
        while True:
            try:
                producer.produce(
                    topic,
                    value=value,
                    partition=_ANY_PARTITION if partition is None else partition,
                    timestamp=timestamps[index] if timestamps else _NOW,
                    headers=list(headers or []),
                    on_delivery=partial(note, index),
                )
                break
            except BufferError:
                producer.poll(0.5)
        producer.poll(0)
    unacknowledged = producer.flush(60)
    assert not failed, f"not produced to {topic}: {failed[:3]}"
    assert not unacknowledged, f"{unacknowledged} records for {topic} were not acknowledged within 60 s"
    return [positions[index] for index in range(len(values))]


def consume_all(bootstrap: str, topic: str, seconds: float = 30) -> list[Record]:
    """All records of a topic, in order of offset within each partition; none if the topic does not exist.

    Raises:
        AssertionError: if the ends of all partitions are not reached within ``seconds``.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "tests",
            "enable.auto.commit": False,
            # Uses the end offsets in fetch responses: for requests of offsets, the embedded broker returns wrong ones.
            "enable.partition.eof": True,
        }
    )
    try:
        # Lists all topics: a request for one topic by name may create it.
        known = consumer.list_topics(timeout=10).topics.get(topic)
        reading = set(known.partitions) if known else set()
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in reading])
        records: list[Record] = []
        deadline = time.monotonic() + seconds
        while reading:
            assert time.monotonic() < deadline, f"{topic}: the ends of partitions {reading} were not reached"
            for message in consumer.consume(1000, timeout=0.5):
                error = message.error()
                if not error:
                    records.append(_record(message))
                elif error.code() == KafkaError._PARTITION_EOF:
                    reading.discard(_int(message.partition()))
                else:
                    raise AssertionError(f"{topic}: {error}")
        return records
    finally:
        consumer.close()


def place_of(key: bytes | None) -> str:
    """TOPIC/PARTITION/OFFSET, and /INDEX if there is one, of the key of a dead letter, without the timestamp."""
    return re.sub(r"@-?\d+", "", (key or b"").decode())


def _record(message: Message) -> Record:
    headers = message.headers() or []
    # A dict is for sending only.
    assert isinstance(headers, list)
    return Record(
        partition=_int(message.partition()),
        offset=_int(message.offset()),
        key=message.key(),
        value=message.value(),
        timestamp=message.timestamp()[1],
        headers=[(name, _bytes(value)) for name, value in headers],
    )


def _int(value: int | None) -> int:
    assert value is not None
    return value


def _bytes(value: str | bytes | None) -> bytes:
    assert isinstance(value, bytes)
    return value
