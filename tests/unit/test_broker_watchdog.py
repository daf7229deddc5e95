"""What is logged about an unreachable broker, and what is suppressed."""

import asyncio
import logging
from typing import cast

import pytest

from sparkle_app.kafka.membership import Membership
from sparkle_app.runtime.logging import RepetitionFilter
from sparkle_app.worker.broker_watchdog import BrokerWatchdog, watch
from tests.support.virtual_time import VirtualClock, run


def test_an_unreachable_broker_is_reported_after_the_grace_period_and_then_every_minute() -> None:
    watchdog = BrokerWatchdog("kafka:9092")
    lines = {poll: line for poll in range(200) if (line := watchdog.poll(7.0, 15.0))}
    assert list(lines) == [15, 75, 135, 195]
    assert "kafka:9092 has not answered for 75 s" in lines[75]
    assert watchdog.poll(8.0, 15.0) == "the broker at kafka:9092 answers again after 199 s"


def test_nothing_is_reported_while_the_broker_answers() -> None:
    watchdog = BrokerWatchdog("kafka:9092")
    # A heartbeat every five seconds, then a rebalance of one minute.
    assert not any(watchdog.poll(poll // 5, 15.0) for poll in range(100))
    assert not any(watchdog.poll(20, 75.0) for _ in range(60))
    assert not any(watchdog.poll(21 + poll // 5, 15.0) for poll in range(100))


def record(name: str, template: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, template, values, None)


def test_a_repeated_message_of_the_kafka_client_is_logged_once_a_minute() -> None:
    now = 1000.0
    repetitions = RepetitionFilter(lambda: now)

    def logged(name: str, template: str, *values: object) -> str | None:
        line = record(name, template, *values)
        return line.getMessage() if repetitions.filter(line) else None

    assert logged("aiokafka", "node %s failed", 1) == "node 1 failed"
    assert [logged("aiokafka", "node %s failed", node) for node in (1, 2, 3)] == [None] * 3
    assert logged("aiokafka", "another %s", "error") == "another error"
    assert logged("aiokafka.consumer", "node %s failed", 1) == "node 1 failed"
    now += 61
    assert logged("asyncio", "FutureMessage exception was never retrieved\nfuture: <…>") is None
    assert logged("asyncio", "Task exception was never retrieved\nfuture: <…>") is not None
    assert logged("aiokafka", "node %s failed", "100%") == (
        "node 100% failed (similar messages suppressed in the last 61 s: 3)"
    )
    assert logged("aiokafka", "node %s failed", 1) is None
    now += 61
    assert logged("aiokafka", "node %s failed", 1) == (
        "node 1 failed (similar messages suppressed in the last 61 s: 1)"
    )


@pytest.mark.parametrize("name", ["asyncio", "aiohttp.server"])
def test_a_repeated_message_of_the_event_loop_and_the_web_server_too_unless_its_exception_differs(
    name: str,
) -> None:
    repetitions = RepetitionFilter(lambda: 1000.0)

    def is_logged(message: str, error: Exception) -> bool:
        line = logging.LogRecord(name, logging.ERROR, "", 0, message, (), (type(error), error, None))
        return repetitions.filter(line)

    message = "socket.accept() out of system resource\nsocket: <object at {}>"
    assert is_logged(message.format(1), OSError("Too many open files"))
    assert not any(is_logged(message.format(at), OSError("Too many open files")) for at in range(200))
    assert is_logged(message.format(1), ValueError("another"))
    # What it remembers is bounded.
    assert all(is_logged(f"message {number}", OSError()) for number in range(3000))
    assert len(repetitions._logged) <= 1000


def test_a_repeated_message_about_a_failed_send_is_suppressed_whatever_message_it_was() -> None:
    repetitions = RepetitionFilter(lambda: 1000.0)
    text = "_on_published error for message topic sparkle-Temperature-samples error Timeout message <{}>"
    failed = [record("faust.topics", text.format(number)) for number in range(3)]
    assert [repetitions.filter(line) for line in failed] == [True, False, False]


def test_messages_of_other_libraries_are_never_suppressed() -> None:
    repetitions = RepetitionFilter()
    assert [repetitions.filter(record("faust", "crashed")) for _ in range(3)] == [True] * 3


class Group:
    """A worker's place in the group, as it changes over virtual time."""

    grace_period = 15.0
    refusal = ""

    def __init__(self, clock: VirtualClock, *, lost: tuple[float, float]) -> None:
        self._clock, self._lost = clock, lost

    @property
    def last_heartbeat(self) -> float:
        first, end = self._lost
        return min(self._clock.now, first) if self._clock.now < end else self._clock.now


async def refused() -> str:
    return "the login is refused"


def test_a_lost_broker_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock(1.0)
    group = Group(clock, lost=(100.0, 140.0))

    async def main() -> None:
        async with asyncio.timeout(300):
            await watch(cast(Membership, group), "kafka:9092", refused)

    with caplog.at_level(logging.INFO, "sparkle_app.worker.broker_watchdog"), pytest.raises(TimeoutError):
        run(main(), clock)
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "WARNING"]
    lost, back = (record.getMessage() for record in caplog.records)
    assert "kafka:9092 has not answered for 15 s; waiting for it: the login is refused" in lost
    assert "kafka:9092 answers again" in back
    assert "refused" not in back


def test_a_broker_that_refuses_the_worker_has_answered(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock(1.0)
    group = Group(clock, lost=(100.0, 1000.0))
    group.refusal = "GroupAuthorizationFailedError"

    async def main() -> None:
        async with asyncio.timeout(1500):
            await watch(cast(Membership, group), "kafka:9092", refused)

    with pytest.raises(TimeoutError):
        run(main(), clock)
    assert caplog.messages == []
