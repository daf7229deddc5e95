"""The circuit breaker of the dead-letter publisher."""

from collections.abc import Iterable

import pytest

from sparkle_app.dead_letters.publisher import CircuitBreakerError, DeadLetterPublisher
from sparkle_app.kafka.publisher import Message, TopicPublisher
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.record import Record, Rejection
from sparkle_app.runtime.metrics import Metrics

RECORD = Record("telemetry", 3, 9, 0, b"")
REJECTION = Rejection(RECORD, InvalidRecordError(Reason.NOT_JSON, "expected an object"))
UNDECRYPTABLE = Rejection(RECORD, InvalidRecordError(Reason.UNDECRYPTABLE, "not encrypted for rsa_key_7"))
UNKNOWN = Rejection(RECORD, InvalidRecordError(Reason.UNKNOWN_CONFIG, "no key rsa_key_8"))


class Unused(TopicPublisher):
    """Only the circuit breaker is tested: nothing is published."""

    def __init__(self) -> None:
        pass

    async def publish(self, messages: Iterable[Message]) -> None:
        raise AssertionError("published")


def test_the_worker_exits_when_the_limit_per_minute_is_exceeded() -> None:
    now = 1000.0
    publisher = DeadLetterPublisher(Unused(), 10, Metrics(), lambda: now)
    publisher.check_circuit_breaker([REJECTION] * 10, 10)
    now += 59
    with pytest.raises(CircuitBreakerError) as caught:
        publisher.check_circuit_breaker([REJECTION], 1)
    message = str(caught.value)
    assert "dead_letters.per_minute: expected at most 10 dead letters per minute, found 11" in message
    assert (
        "the last one from topic telemetry, partition 3, offset 9 (not_json: expected an object)" in message
    )


def test_a_rate_within_the_limit_is_allowed_indefinitely() -> None:
    now = 0.0
    publisher = DeadLetterPublisher(Unused(), 10, Metrics(), lambda: now)
    for _ in range(5):
        publisher.check_circuit_breaker([REJECTION] * 10, 10)
        now += 60
    assert now == 300


def started_at(now: float) -> DeadLetterPublisher:
    return DeadLetterPublisher(Unused(), 1000, Metrics(), lambda: now)


def test_restarts_do_not_drain_a_topic_that_no_private_key_decrypts() -> None:
    for start in range(20):
        # The dead letters of the previous worker are more than a minute old.
        publisher = started_at(61.0 * start)
        with pytest.raises(
            CircuitBreakerError, match="certs: expected private keys that decrypt the records"
        ) as caught:
            publisher.check_circuit_breaker([UNDECRYPTABLE] * 450 + [UNKNOWN] * 451, 1000)
        assert "found none for 901 of 1000 records of a batch" in str(caught.value)


@pytest.mark.parametrize(
    ("rejections", "records"),
    [
        # Few records, from a host with a wrong key; less than nine tenths; only invalid records, but for other reasons.
        ([UNDECRYPTABLE] * 99, 99),
        ([UNDECRYPTABLE] * 899, 1000),
        ([REJECTION] * 1000, 1000),
        ([], 1000),
    ],
)
def test_a_small_or_mostly_decryptable_batch_is_allowed(rejections: list[Rejection], records: int) -> None:
    publisher = DeadLetterPublisher(Unused(), 1000, Metrics())
    publisher.check_circuit_breaker(rejections, records)
    # They were allowed, and counted.
    with pytest.raises(CircuitBreakerError, match="at most 1000 dead letters per minute, found 1001"):
        publisher.check_circuit_breaker([REJECTION] * (1001 - len(rejections)), 2000)


def test_undecryptable_records_are_allowed_when_the_limit_is_raised() -> None:
    publisher = DeadLetterPublisher(Unused(), 10_001, Metrics())
    publisher.check_circuit_breaker([UNDECRYPTABLE] * 1000, 1000)
    with pytest.raises(CircuitBreakerError, match="at most 10001 dead letters per minute, found 10002"):
        publisher.check_circuit_breaker([REJECTION] * 9002, 9002)
