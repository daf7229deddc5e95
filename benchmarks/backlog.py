"""A backlog of encrypted readings, and who works it off."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil
from confluent_kafka import ConsumerGroupState, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from tests.support.collector import Collector

WARM = 0.2
"""The share of the records that is worked off before the measured ones are written: caches fill, and Java compiles."""
JOIN_SECONDS = 90


def readings(collector: Collector, number: int, hosts: int, metrics: int) -> Iterator[bytes]:
    """Records as ``hosts`` hosts send them, each its ``metrics`` sensors one after the other."""
    rng = random.Random(number)
    for index in range(number):
        host, metric = index // metrics % hosts, index % metrics
        value = round(rng.uniform(30, 60), 1)
        yield collector.record(f"host-{host:05}", "Temperature", f"core/{metric}", value)


def wait_joined(bootstrap: str, group: str, members: int, running: Callable[[], bool]) -> None:
    """Wait until a consumer group has all its members and they have shared the partitions.

    Raises:
        AssertionError: when it takes too long, or one of them does not run any more.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    deadline = time.monotonic() + JOIN_SECONDS
    while True:
        assert running(), f"a member of {group} ended"
        assert time.monotonic() < deadline, f"{group}: not {members} members after {JOIN_SECONDS} s"
        try:
            found = admin.describe_consumer_groups([group], request_timeout=5)[group].result(10)
        except KafkaException:
            found = None
        if found and found.state is ConsumerGroupState.STABLE and len(found.members) == members:
            return
        time.sleep(0.2)


def warm_and_measured(records: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """What comes first, and what is measured."""
    first = int(WARM * len(records))
    return records[:first], records[first:]


@contextlib.contextmanager
def suspended(pids: Sequence[int]) -> Iterator[None]:
    """Stop processes for less than the broker's grace_period with a consumer group's members."""
    team = [psutil.Process(pid) for pid in pids]
    for process in team:
        process.suspend()
    yield
    for process in team:
        process.resume()


def produce_backlog(bootstrap: str, topic: str, records: Sequence[bytes]) -> None:
    """Write all records at once, encrypted before.

    Raises:
        AssertionError: when the broker did not acknowledge one of them.
    """
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True})
    refused: list[str] = []

    def note(error: Any, _message: object) -> None:
        if error:
            refused.append(str(error))

    for number, record in enumerate(records):
        producer.produce(topic, record, on_delivery=note)
        # The producer holds 100,000 at most.
        while number % 500 == 0 and len(producer) > 50_000:
            producer.poll(0.1)
    assert not producer.flush(60), "the broker did not acknowledge the backlog within 60 s"
    assert not refused, f"the broker refused {refused[:3]}"
