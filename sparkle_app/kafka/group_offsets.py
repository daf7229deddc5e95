"""Sets the committed offsets of the consumer group back, so that workers read records again."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError, KafkaTimeoutError, UnknownMemberIdError

from sparkle_app.config.sections import BrokerSettings
from sparkle_app.kafka.connection import security_arguments
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.model.time import to_millis

_COORDINATOR_SECONDS = 30.0
"""How long the group's coordinator may take: a consumer would look for it for ever."""


class Stored(NamedTuple):
    """What the database contains of a partition."""

    since: int
    """Records from this time on may be missing in it, microseconds since the epoch."""
    offset: int
    """The largest one of which a reading is stored."""


class Begin(Enum):
    """Which record is the first one to be read again."""

    TIME = "since a time"
    STORED = "the one after those in the database"
    FIRST = "the first one in the log"


class OffsetReset(msgspec.Struct, frozen=True):
    """What becomes of the committed offset of a partition."""

    topic: str
    partition: int
    committed: int | None
    """None: there is none, and workers begin with the first record anyway."""
    offset: int
    """The new one; never greater."""
    begin: Begin

    @property
    def records(self) -> int:
        """How many records are read again, at most."""
        return self.committed - self.offset if self.committed is not None else 0


async def plan_resets(
    broker: BrokerSettings,
    group: str,
    topics: Sequence[str],
    stored: Mapping[tuple[str, int], Stored],
    otherwise: int | None,
) -> list[OffsetReset]:
    """The offsets from which workers have to read again all records since a time.

    Arguments:
        stored: by topic and partition.
        otherwise: time for other partitions, microseconds since the epoch; None: since the first record.

    Raises:
        ConfigurationError: if the group has members.
        KafkaError: if the broker does not answer.
    """
    partitions = await _partitions(broker, group, topics)
    async with _consumer(broker, group) as consumer:
        resets: list[OffsetReset] = []
        of = {tp: stored.get((tp.topic, tp.partition)) for tp in partitions}
        times = {tp: each.since if each else otherwise for tp, each in of.items()}
        known = {tp: to_millis(at) for tp, at in times.items() if at is not None}
        first = await consumer.beginning_offsets(partitions) if partitions else {}
        end = await consumer.end_offsets(partitions) if partitions else {}
        later = await consumer.offsets_for_times(known) if known else {}
        for tp in partitions:
            async with _in_time(group):
                committed = await consumer.committed(tp)
            offset, begin = first[tp], Begin.FIRST
            in_database, found = of[tp], later.get(tp)
            if in_database and in_database.offset >= end[tp]:
                # Readings of another log, which may have been imported: they say nothing about this one.
                pass
            elif found:
                offset, begin = found.offset, Begin.TIME
                # Timestamps may be wrong, but records are stored in the order of their offsets.
                if in_database and in_database.offset + 1 < offset:
                    offset, begin = max(in_database.offset + 1, first[tp]), Begin.STORED
            elif tp in known and not in_database:
                # Of a stored reading, there must be something as new; otherwise the log is another one.
                offset, begin = end[tp], Begin.TIME
            # Never forward: that would skip records.
            offset = offset if committed is None else min(offset, committed)
            resets.append(OffsetReset(tp.topic, tp.partition, committed, offset, begin))
        return resets


async def commit_resets(broker: BrokerSettings, group: str, resets: Sequence[OffsetReset]) -> None:
    """Commit the new offsets.

    Raises:
        ConfigurationError: if the group has members.
        KafkaError: if the broker does not answer.
    """
    offsets = {TopicPartition(each.topic, each.partition): each.offset for each in resets if each.records}
    if not offsets:
        return
    async with _consumer(broker, group) as consumer:
        consumer.assign(list(offsets))
        try:
            async with _in_time(group):
                await consumer.commit(offsets)
        except (CommitFailedError, UnknownMemberIdError) as error:
            raise _has_members(group, "some that have just joined") from error


@asynccontextmanager
async def _in_time(group: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_COORDINATOR_SECONDS):
            yield
    except TimeoutError:
        raise KafkaTimeoutError(
            f"no coordinator of consumer group {group} within {_COORDINATOR_SECONDS:g} s"
        ) from None


def _consumer(broker: BrokerSettings, group: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=broker.url,
        **security_arguments(broker),
        group_id=group,
        enable_auto_commit=False,
    )


async def _partitions(broker: BrokerSettings, group: str, topics: Sequence[str]) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.url, **security_arguments(broker))
    try:
        await admin.start()
        if members := await _members(admin, group):
            raise _has_members(group, str(members))
        # Lists all topics: a request for one topic by name may create it.
        existing = set(await admin.list_topics())
        described = await admin.describe_topics([topic for topic in topics if topic in existing])
        return sorted(
            TopicPartition(topic["topic"], partition["partition"])
            for topic in described
            for partition in topic["partitions"]
        )
    finally:
        await admin.close()


async def count_members(broker: BrokerSettings, group: str) -> int:
    """The number of workers in the consumer group.

    Raises:
        KafkaError: if the broker does not answer.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.url, **security_arguments(broker))
    try:
        await admin.start()
        return await _members(admin, group)
    finally:
        await admin.close()


async def require_no_members(broker: BrokerSettings, group: str) -> None:
    """Check that no worker runs.

    Raises:
        ConfigurationError: if the group has members.
        KafkaError: if the broker does not answer.
    """
    if members := await count_members(broker, group):
        raise _has_members(group, str(members))


async def _members(admin: AIOKafkaAdminClient, group: str) -> int:
    described = await admin.describe_consumer_groups([group])
    return sum(len(members) for each in described for _, _, _, _, _, members, *_ in each.groups)


def _has_members(group: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        f"consumer group {group}",
        expected="no members",
        found=found,
        hint="stop all workers; one that was killed remains a member for 15 seconds",
    )
