"""Writing to and reading from topics, as any client of the broker can."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

Headers = list[tuple[str, bytes]]


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
    """Make a topic; in names of ``config`` an underscore stands for a dot."""
    new = NewTopic(
        topic, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()}
    )
    # It has to live until the answer is there.
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
    """Send ``values`` and wait until the broker has acknowledged them all.

    Arguments:
        timestamps: for each value, milliseconds since 1970; now, if left out.
        partition: of all values; the client's choice if left out.
        compression: of each batch.

    Returns:
        Partition and offset of each value, in the order of ``values``.
    """
    placed: dict[int, tuple[int, int]] = {}
    failed: list[str] = []

    def note(index: int, error: object, message: Message) -> None:
        if error:
            failed.append(f"{index}: {error}")
        else:
            placed[index] = (_int(message.partition()), _int(message.offset()))

    # Order within a partition has to be that of the values, through the client's retries too.
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "max.in.flight": 1,
            "linger.ms": 5,
            "compression.type": compression,
            # The broker's own limit is what counts: it looks at the compressed size.
            "message.max.bytes": 1_000_000 if compression == "none" else 100_000_000,
        }
    )
    where = {} if partition is None else {"partition": partition}
    for index, value in enumerate(values):
        when = {"timestamp": timestamps[index]} if timestamps else {}
        while True:
            try:
                producer.produce(
                    topic,
                    value=value,
                    headers=headers or [],
                    on_delivery=lambda error, message, index=index: note(index, error, message),
                    **where,
                    **when,
                )
                break
            except BufferError:
                producer.poll(0.5)
        producer.poll(0)
    left = producer.flush(60)
    assert not failed, f"not sent to {topic}: {failed[:3]}"
    assert not left, f"{left} records for {topic} were not acknowledged within 60 s"
    return [placed[index] for index in range(len(values))]


def consume_all(bootstrap: str, topic: str, seconds: float = 30) -> list[Record]:
    """All records of all partitions, each read to its end; none if there is no such topic.

    Records come in the order of their offsets within a partition.

    Raises:
        AssertionError: when they do not arrive within ``seconds``.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "tests",
            "enable.auto.commit": False,
            # The end as told along with the records: asked for by itself, the embedded broker tells a wrong one.
            "enable.partition.eof": True,
        }
    )
    try:
        # Of all topics: to ask for one by name may create it.
        known = consumer.list_topics(timeout=10).topics.get(topic)
        reading = set(known.partitions) if known else set()
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in reading])
        records: list[Record] = []
        deadline = time.monotonic() + seconds
        while reading:
            assert time.monotonic() < deadline, f"{topic}: partitions {reading} not read to their ends"
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


def _record(message: Message) -> Record:
    return Record(
        partition=_int(message.partition()),
        offset=_int(message.offset()),
        key=message.key(),
        value=message.value(),
        timestamp=message.timestamp()[1],
        headers=message.headers() or [],
    )


def _int(value: int | None) -> int:
    assert value is not None
    return value
