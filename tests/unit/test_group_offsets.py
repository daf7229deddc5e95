"""A consumer group whose coordinator does not answer is an error, not an endless wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from sparkle_app.config.sections import BrokerSettings
from sparkle_app.kafka import group_offsets
from sparkle_app.kafka.group_offsets import OffsetReset, commit_resets, plan_resets

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
            await commit_resets(BrokerSettings(), "g", [OffsetReset("telemetry", 0, 5, 1)])


@pytest.mark.parametrize(("since", "otherwise", "offset"), [({("telemetry", 0): 10}, None, 3), ({}, 10, 7)])
async def test_a_log_without_the_newest_record_is_read_again_from_its_start(
    monkeypatch: pytest.MonkeyPatch, since: dict[tuple[str, int], int], otherwise: int | None, offset: int
) -> None:
    """It has been recreated, or the stored timestamp is wrong. If somebody names a time, there is nothing newer."""

    async def beginning(*_: Any) -> dict[TopicPartition, int]:
        return {AT: 3}

    async def end(*_: Any) -> dict[TopicPartition, int]:
        return {AT: 9}

    async def none_later(*_: Any) -> dict[TopicPartition, None]:
        return {AT: None}

    async def committed(*_: Any) -> int:
        return 7

    for name, answer in {
        "beginning_offsets": beginning,
        "end_offsets": end,
        "offsets_for_times": none_later,
        "committed": committed,
    }.items():
        monkeypatch.setattr(WithoutCoordinator, name, answer, raising=False)
    (reset,) = await plan_resets(BrokerSettings(), "g", ["telemetry"], since, otherwise)
    assert (reset.committed, reset.offset) == (7, offset)
