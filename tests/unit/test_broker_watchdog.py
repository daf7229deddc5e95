"""What is logged about an unreachable broker, and what is suppressed."""

import logging

from sparkle_app.runtime.logging import RepetitionFilter
from sparkle_app.worker.broker_watchdog import BrokerWatchdog


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
    assert logged("aiokafka", "node %s failed", "100%") == (
        "node 100% failed (similar messages suppressed in the last 61 s: 3)"
    )
    assert logged("aiokafka", "node %s failed", 1) is None
    now += 61
    assert logged("aiokafka", "node %s failed", 1) == (
        "node 1 failed (similar messages suppressed in the last 61 s: 1)"
    )


def test_messages_of_other_libraries_are_never_suppressed() -> None:
    repetitions = RepetitionFilter()
    assert [repetitions.filter(record("faust", "crashed")) for _ in range(3)] == [True] * 3
