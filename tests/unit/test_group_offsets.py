"""A consumer group whose coordinator does not answer is an error, not an endless wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError
from aiokafka.structs import OffsetAndTimestamp

from sparkle_app.config.sections import BrokerSettings
from sparkle_app.kafka import group_offsets
from sparkle_app.kafka.group_offsets import Begin, OffsetReset, Stored, commit_resets, plan_resets

AT = TopicPartition("telemetry", 0)


class WithoutCoordinator:
    """A consumer as it is when the broker goes away after the first requests."""

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    end_offsets = beginning_offsets

    async def committed(self, _partition: TopicPartition) -> None:
        await asyncio.Event().wait()

    async def commit(self, _offsets: Any) -> None:
        await asyncio.Event().wait()

    def assign(self, _partitions: list[TopicPartition]) -> None:
        pass


@pytest.fixture(autouse=True)
def _without_coordinator(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def consumer(*_: Any) -> AsyncIterator[WithoutCoordinator]:
        yield WithoutCoordinator()

    async def partitions(*_: Any) -> list[TopicPartition]:
        return [AT]

    monkeypatch.setattr(group_offsets, "_consumer", consumer)
    monkeypatch.setattr(group_offsets, "_partitions", partitions)
    monkeypatch.setattr(group_offsets, "_COORDINATOR_SECONDS", 0.1)


async def test_offsets_are_read_in_time() -> None:
    async with asyncio.timeout(10):
        with pytest.raises(KafkaTimeoutError, match="no coordinator of consumer group g"):
            await plan_resets(BrokerSettings(), "g", ["telemetry"], {}, None)


async def test_offsets_are_committed_in_time() -> None:
    async with asyncio.timeout(10):
        with pytest.raises(KafkaTimeoutError, match="no coordinator of consumer group g"):
            await commit_resets(BrokerSettings(), "g", [OffsetReset("telemetry", 0, 5, 1, Begin.TIME)])


STORED = {("telemetry", 0): Stored(10, 5)}


@pytest.mark.parametrize(
    ("stored", "otherwise", "later", "offset", "begin"),
    [
        # The log begins at 3, ends at 9, and 7 is committed.
        (STORED, None, 4, 4, Begin.TIME),
        # Timestamps may be wrong, but records are stored in order.
        (STORED, None, 7, 6, Begin.STORED),
        # The log has been recreated, or a stored timestamp is wrong.
        (STORED, None, None, 3, Begin.FIRST),
        ({("telemetry", 0): Stored(10, 1)}, None, 8, 3, Begin.STORED),
        # Readings of another log, which were imported, say nothing about this one.
        ({("telemetry", 0): Stored(10, 9)}, None, 8, 3, Begin.FIRST),
        ({("telemetry", 0): Stored(10, 10**7)}, 10, 4, 3, Begin.FIRST),
        ({}, None, None, 3, Begin.FIRST),
        # If somebody names a time, there is nothing newer. Nothing is set forward.
        ({}, 10, None, 7, Begin.TIME),
        ({}, 10, 4, 4, Begin.TIME),
    ],
)
async def test_no_record_is_skipped_that_is_not_stored(
    monkeypatch: pytest.MonkeyPatch,
    stored: dict[tuple[str, int], Stored],
    otherwise: int | None,
    later: int | None,
    offset: int,
    begin: Begin,
) -> None:
    async def beginning(*_: Any) -> dict[TopicPartition, int]:
        return {AT: 3}

    async def end(*_: Any) -> dict[TopicPartition, int]:
        return {AT: 9}

    async def by_time(*_: Any) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        return {AT: None if later is None else OffsetAndTimestamp(later, 0)}

    async def committed(*_: Any) -> int:
        return 7

    for name, answer in {
        "beginning_offsets": beginning,
        "end_offsets": end,
        "offsets_for_times": by_time,
        "committed": committed,
    }.items():
        monkeypatch.setattr(WithoutCoordinator, name, answer, raising=False)
    (reset,) = await plan_resets(BrokerSettings(), "g", ["telemetry"], stored, otherwise)
    assert (reset.committed, reset.offset, reset.begin) == (7, offset, begin)
