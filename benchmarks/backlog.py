"""A backlog of encrypted readings, and the consumer group that processes it."""

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import psutil
from confluent_kafka import ConsumerGroupState, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from tests.support.collector import Collector

WARM = 0.2
"""The share of records that is processed before the measurement, for caches and the JIT compiler of Java to warm up."""
JOIN_SECONDS = 90


def readings(
    collector: Collector,
    number: int,
    hosts: int,
    metrics: int,
    name: Callable[[int], str] = "host-{:05}".format,
) -> Iterator[bytes]:
    """Records of ``hosts`` hosts, each with ``metrics`` metrics; a host's records are adjacent.

    Arguments:
        name: the name of a host, by number.
    """
    rng = random.Random(number)
    for index in range(number):
        host, metric = index // metrics % hosts, index % metrics
        value = round(rng.uniform(30, 60), 1)
        yield collector.record(name(host), "Temperature", f"core/{metric}", value)


def wait_joined(bootstrap: str, group: str, members: int, running: Callable[[], bool]) -> None:
    """Wait until a consumer group is stable and has ``members`` members.

    Raises:
        AssertionError: after a timeout, or if a member ends.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    deadline = time.monotonic() + JOIN_SECONDS
    while True:
        assert running(), f"a member of {group} ended"
        assert time.monotonic() < deadline, f"{group}: expected {members} members after {JOIN_SECONDS} s"
        try:
            found = admin.describe_consumer_groups([group], request_timeout=5)[group].result(10)
        except KafkaException:
            found = None
        if found and found.state is ConsumerGroupState.STABLE and len(found.members) == members:
            return
        time.sleep(0.2)


def wait_done(done: Callable[[], int], number: int, check: Callable[[int], None]) -> int:
    """Wait until ``number`` readings are done; returns how many are.

    Between two looks, half of the time passes that remains, but at most a second: looking takes the time of the
    processors that are measured.

    Arguments:
        done: counts the readings that are done.
        check: called with their number; raises if they will never all be.
    """
    started = time.monotonic()
    first = counted = done()
    while counted < number:
        check(counted)
        remaining = (time.monotonic() - started) * (number - counted) / max(counted - first, 1)
        time.sleep(max(0.1, min(remaining / 2, 1.0)))
        counted = done()
    return counted


def warm_and_measured(records: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Split records into those for the warm-up and those that are measured."""
    count = int(WARM * len(records))
    return records[:count], records[count:]


@contextlib.contextmanager
def suspended(pids: Sequence[int]) -> Iterator[None]:
    """Suspend members of a consumer group, for less than the session timeout."""
    processes = [psutil.Process(pid) for pid in pids]
    for process in processes:
        process.suspend()
    yield
    for process in processes:
        process.resume()


def produce_backlog(bootstrap: str, topic: str, records: Iterable[bytes]) -> None:
    """Produce all records, which are already encrypted.

    Raises:
        AssertionError: if the broker did not acknowledge all of them.
    """
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True})
    rejected: list[str] = []

    def note(error: Any, _message: object) -> None:
        if error:
            rejected.append(str(error))

    for number, record in enumerate(records):
        producer.produce(topic, record, on_delivery=note)
        # The producer queues at most 100,000.
        while number % 500 == 0 and len(producer) > 50_000:
            producer.poll(0.1)
    assert not producer.flush(60), "the broker did not acknowledge the backlog within 60 s"
    assert not rejected, f"the broker rejected records: {rejected[:3]}"
