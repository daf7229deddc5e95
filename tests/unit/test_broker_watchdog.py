"""What the log says of a broker that is away, and what it leaves out."""

import logging

from sparkle_app.runtime.logging import Repetitions
from sparkle_app.worker.broker_watchdog import BrokerWatchdog


def test_a_silent_broker_is_told_after_a_while_and_then_every_minute() -> None:
    watchdog = BrokerWatchdog("kafka:9092")
    said = {poll: line for poll in range(200) if (line := watchdog.poll(7.0, 15.0))}
    assert list(said) == [15, 75, 135, 195]
    assert "kafka:9092 has not answered for 75 s" in said[75]
    assert watchdog.poll(8.0, 15.0) == "the broker at kafka:9092 answers again, after 199 s"


def test_a_broker_that_answers_is_not_talked_about() -> None:
    watchdog = BrokerWatchdog("kafka:9092")
    # A heartbeat every five seconds; one of two minutes that had to wait for other workers.
    assert not any(watchdog.poll(poll // 5, 15.0) for poll in range(100))
    assert not any(watchdog.poll(20, 75.0) for _ in range(60))
    assert not any(watchdog.poll(21 + poll // 5, 15.0) for poll in range(100))


def line(name: str, template: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, template, values, None)


def test_the_kafka_client_repeats_itself_once_a_minute() -> None:
    now = 1000.0
    repetitions = Repetitions(lambda: now)

    def told(record: logging.LogRecord) -> str | None:
        return record.getMessage() if repetitions.filter(record) else None

    assert told(line("aiokafka", "node %s is away", 1)) == "node 1 is away"
    assert [told(line("aiokafka", "node %s is away", node)) for node in (1, 2, 3)] == [None] * 3
    assert told(line("aiokafka", "another %s", "fault")) == "another fault"
    assert told(line("aiokafka.consumer", "node %s is away", 1)) == "node 1 is away"
    now += 61
    assert told(line("aiokafka", "node %s is away", "100%")) == (
        "node 100% is away (and 3 more like it in the last 61 s)"
    )
    assert told(line("aiokafka", "node %s is away", 1)) is None
    now += 61
    assert (
        told(line("aiokafka", "node %s is away", 1)) == "node 1 is away (and 1 more like it in the last 61 s)"
    )


def test_what_others_say_is_never_left_out() -> None:
    repetitions = Repetitions()
    assert [repetitions.filter(line("faust", "crashed")) for _ in range(3)] == [True] * 3
