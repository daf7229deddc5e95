"""A backlog of encrypted readings, produced before anything is measured."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import Producer

from tests.support.collector import Collector
from tests.support.produce import create_topic


def readings(collector: Collector, number: int, hosts: int, metrics: int) -> Iterator[bytes]:
    """Records as ``hosts`` hosts send them, each its ``metrics`` sensors one after the other."""
    chance = random.Random(number)
    for index in range(number):
        host, metric = index // metrics % hosts, index % metrics
        value = round(chance.uniform(30, 60), 1)
        yield collector.record(f"host-{host:05}", "Temperature", f"core/{metric}", value)


def produce_backlog(bootstrap: str, topic: str, partitions: int, records: Sequence[bytes]) -> None:
    """Make the topic and write all records to it.

    Raises:
        AssertionError: when the broker did not acknowledge one of them.
    """
    create_topic(bootstrap, topic, partitions)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True})
    refused: list[str] = []

    def note(error: Any, _message: object) -> None:
        if error:
            refused.append(str(error))

    for number, record in enumerate(records):
        producer.produce(topic, record, on_delivery=note)
        if number % 500 == 0:
            producer.poll(0)
    assert not producer.flush(60), "the broker did not acknowledge the backlog within 60 s"
    assert not refused, f"the broker refused {refused[:3]}"
