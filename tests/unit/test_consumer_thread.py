"""The thread of the Kafka client: when a heartbeat counts, and what becomes of a refusal."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import GroupAuthorizationFailedError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from sparkle_app.kafka import consumer_thread
from sparkle_app.kafka.consumer_thread import ConsumerThread
from sparkle_app.kafka.fetched_batches import MAX_POLLED_RECORDS


class Coordinator:
    """The group's coordinator, as the client sees it."""

    def __init__(self) -> None:
        self.group_id = "sparkle"
        self.rejoins = 0
        self.heartbeat: Callable[[], Awaitable[bool]]
        self._closing = asyncio.get_running_loop().create_future()

    async def _do_heartbeat(self) -> bool:
        return await self.heartbeat()

    async def _push_error_to_user(self, error: Exception) -> None:
        raise AssertionError(error)

    def request_rejoin(self) -> None:
        self.rejoins += 1


@pytest.fixture
async def thread(monkeypatch: pytest.MonkeyPatch) -> Any:
    async def on_start(_: Any) -> None:
        """Without a client."""

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_start", on_start)
    thread = cast(Any, ConsumerThread.__new__(ConsumerThread))
    client = SimpleNamespace(_on_connection_closed=None, _bootstrap_servers=[])
    monkeypatch.setattr(consumer_thread, "rebootstrap", lambda _: None)
    thread._consumer = SimpleNamespace(_coordinator=Coordinator(), _client=client)
    thread._refusal, thread._refused_at, thread._told_at = "", 0.0, 0.0
    await thread.on_start()
    return thread


async def test_a_heartbeat_counts_from_when_it_was_sent(thread: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was suspended reads the answer minutes later: its partitions may be another worker's by then."""
    now = 1000.0
    monkeypatch.setattr(consumer_thread, "elapsed", lambda: now)

    async def answered() -> bool:
        nonlocal now
        now += 600
        return True

    coordinator = thread._consumer._coordinator
    coordinator.heartbeat = answered
    assert await coordinator._do_heartbeat()
    assert thread.last_heartbeat == 1000.0

    async def unanswered() -> bool:
        return False

    coordinator.heartbeat = unanswered
    await coordinator._do_heartbeat()
    assert thread.last_heartbeat == 1000.0


async def test_a_refusal_is_told_once_and_retried(
    thread: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(consumer_thread, "_REFUSED_SECONDS", 0.0)
    coordinator = thread._consumer._coordinator
    for _ in range(3):
        await coordinator._push_error_to_user(GroupAuthorizationFailedError("sparkle"))
    assert coordinator.rejoins == 3
    (line,) = caplog.messages
    assert line.startswith("consumer group sparkle: the broker refuses this worker, trying again: ")
    assert line.endswith("permit READ on the group")
    assert thread.refusal == ""
    monkeypatch.setattr(consumer_thread, "_REFUSED_SECONDS", 60.0)
    assert "GroupAuthorizationFailedError" in thread.refusal

    async def answered() -> bool:
        return True

    coordinator.heartbeat = answered
    await coordinator._do_heartbeat()
    assert thread.refusal == ""


async def test_a_poll_takes_records_of_one_partition(thread: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others remain compressed: one that is read in part has a batch that is not."""
    first, second, other = (TP("telemetry", number) for number in range(3))
    calls: list[tuple[Any, ...]] = []

    async def fetch(_: Any, *arguments: Any) -> dict[TP, list[int]]:
        calls.append(arguments)
        return {}

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetch)
    fetched: dict[TP, object] = {other: object(), second: object(), first: object()}
    consumer = SimpleNamespace(_fetcher=SimpleNamespace(_records=fetched))
    await thread._fetch_records(consumer, {first, second}, timeout=1.0)
    del fetched[second], fetched[first]
    await thread._fetch_records(consumer, {first, second}, timeout=1.0)
    assert calls == [(consumer, {second}, 0, MAX_POLLED_RECORDS), (consumer, {first, second}, 1.0, 1)]
