"""An in-memory broker for unit tests. Its clients implement the methods of aiokafka that the handler and Faust use.

tests/integration/test_broker_contract.py runs the same tests on it and on a real broker.
"""

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.structs import RecordMetadata

from tests.support.memory_clients import MemoryConsumer, MemoryProducer, Partitions, Record

CREATE_TIME, LOG_APPEND_TIME = 0, 1


class _Log:
    """The records of one partition."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.beginning = self.end = 0


class _Group:
    """A consumer group, with its members in the order in which they joined."""

    def __init__(self) -> None:
        self.generation = 0
        self.members: list[MemoryConsumer] = []
        self.committed: dict[TopicPartition, int] = {}


class MemoryBroker:
    """Topics and consumer groups. All clients run in one event loop.

    Arguments:
        clock: returns seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._topics: dict[str, list[_Log]] = {}
        self._timestamp_types: dict[str, int] = {}
        self._groups: dict[str, _Group] = {}
        self.before_append: Callable[[TopicPartition], Awaitable[None]] | None = None
        """Awaited before records are appended. An exception that it raises is set on the producer's future."""

    async def create_topic(self, name: str, partitions: int, *, log_append_time: bool = False) -> None:
        """Create a topic. With ``log_append_time``, records get the timestamp of the broker."""
        self._topics[name] = [_Log() for _ in range(partitions)]
        self._timestamp_types[name] = LOG_APPEND_TIME if log_append_time else CREATE_TIME

    async def delete_records(self, at: TopicPartition, before: int) -> None:
        """Delete the records below an offset, as retention does."""
        log = self._log(at)
        log.beginning = before
        log.records = [record for record in log.records if record.offset >= before]

    async def transaction(self, at: TopicPartition, values: Iterable[bytes]) -> None:
        """Append records in a transaction, whose marker occupies the next offset."""
        for value in values:
            await self.producer().send_and_wait(at.topic, value, partition=at.partition)
        self._log(at).end += 1

    def producer(self) -> MemoryProducer:
        """A producer."""
        return MemoryProducer(self)

    def consumer(self, *topics: str, group: str | None = None) -> MemoryConsumer:
        """A consumer of ``topics`` in a group; without ``group``, of the partitions set with ``assign``."""
        return MemoryConsumer(self, topics, group)

    async def evict(self, consumer: MemoryConsumer) -> None:
        """Remove a consumer from its group without its knowledge, as after its session timeout."""
        self._leave(consumer)

    def partitions(self, topic: str) -> Partitions:
        """The partitions of a topic; none if it does not exist."""
        return {TopicPartition(topic, number) for number in range(len(self._topics.get(topic, ())))}

    def records(self, at: TopicPartition) -> list[Record]:
        """The records of a partition."""
        return list(self._log(at).records)

    def rebalance(self, group: str) -> None:
        """Begin a new generation, and assign the partitions to the members in turn."""
        state = self._groups[group]
        state.generation += 1
        for member in state.members:
            member._assigned(set(), state.generation)
        topics = {topic for member in state.members for topic in member.topics}
        for index, at in enumerate(sorted(set().union(*map(self.partitions, topics)))):
            member = state.members[index % len(state.members)]
            member._assigned(member.assignment() | {at}, state.generation)

    def _append(self, at: TopicPartition, records: Iterable[Any]) -> RecordMetadata:
        """Append the records of a batch; returns the metadata of the first."""
        log, kind, now = self._log(at), self._timestamp_types[at.topic], int(self._clock() * 1000)
        first = log.end
        for each in records:
            when = now if kind == LOG_APPEND_TIME or each.timestamp is None else each.timestamp
            sizes = (-1 if part is None else len(part) for part in (each.key, each.value))
            place = (at.topic, at.partition, log.end, when, kind)
            log.records.append(
                ConsumerRecord(*place, each.key, each.value, None, *sizes, tuple(each.headers))
            )
            log.end += 1
        return RecordMetadata(at.topic, at.partition, at, first, now, kind, log.beginning)

    def _join(self, consumer: MemoryConsumer, group: str) -> None:
        self._groups.setdefault(group, _Group()).members.append(consumer)
        self.rebalance(group)

    def _leave(self, consumer: MemoryConsumer) -> None:
        for name, group in self._groups.items():
            if consumer in group.members:
                group.members.remove(consumer)
                self.rebalance(name)

    def _log(self, at: TopicPartition) -> _Log:
        log: _Log = self._topics[at.topic][at.partition]
        return log
