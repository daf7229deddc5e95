"""Sets the committed offsets of the consumer group back, so that workers read records again."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

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


class OffsetReset(msgspec.Struct, frozen=True):
    """What becomes of the committed offset of a partition."""

    topic: str
    partition: int
    committed: int | None
    """None: there is none, and workers begin with the first record anyway."""
    offset: int
    """The new one; never greater."""

    @property
    def records(self) -> int:
        """How many records are read again, at most."""
        return self.committed - self.offset if self.committed is not None else 0


async def plan_resets(
    broker: BrokerSettings,
    group: str,
    topics: Sequence[str],
    since: Mapping[tuple[str, int], int],
    otherwise: int | None,
) -> list[OffsetReset]:
    """The offsets from which workers have to read again all records since a time.

    Arguments:
        since: microseconds since the epoch, by topic and partition.
        otherwise: the same for other partitions; None: since the first record.

    Raises:
        ConfigurationError: if the group has members.
        KafkaError: if the broker does not answer.
    """
    partitions = await _partitions(broker, group, topics)
    async with _consumer(broker, group) as consumer:
        resets: list[OffsetReset] = []
        times = {tp: since.get((tp.topic, tp.partition), otherwise) for tp in partitions}
        known = {tp: to_millis(at) for tp, at in times.items() if at is not None}
        first = await consumer.beginning_offsets(partitions) if partitions else {}
        end = await consumer.end_offsets(partitions) if partitions else {}
        later = await consumer.offsets_for_times(known) if known else {}
        for tp in partitions:
            async with _in_time(group):
                committed = await consumer.committed(tp)
            offset = first[tp]
            if tp in known:
                found = later[tp]
                # What is newer than a stored reading must be there: the log, or the timestamps, are not what they were.
                missing = first[tp] if (tp.topic, tp.partition) in since else end[tp]
                offset = found.offset if found else missing
            # Never forward: that would skip records.
            offset = offset if committed is None else min(offset, committed)
            resets.append(OffsetReset(tp.topic, tp.partition, committed, offset))
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
