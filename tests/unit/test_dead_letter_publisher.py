import pytest

from sparkle_app.dead_letters.publisher import CircuitBreakerError, DeadLetterPublisher
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.record import Record, Rejection
from sparkle_app.runtime.metrics import Metrics

RECORD = Record("telemetry", 3, 9, 0, b"")
REJECTION = Rejection(RECORD, InvalidRecordError(Reason.NOT_JSON, "expected an object"))
UNDECRYPTABLE = Rejection(RECORD, InvalidRecordError(Reason.UNDECRYPTABLE, "not encrypted for rsa_key_7"))
UNKNOWN = Rejection(RECORD, InvalidRecordError(Reason.UNKNOWN_CONFIG, "no key rsa_key_8"))


def test_more_dead_letters_than_a_minute_allows_stop_the_worker() -> None:
    now = 1000.0
    publisher = DeadLetterPublisher(None, 10, Metrics(), lambda: now)  # type: ignore[arg-type]
    publisher.admit([REJECTION] * 10, 10)
    now += 59
    with pytest.raises(CircuitBreakerError) as caught:
        publisher.admit([REJECTION], 1)
    said = str(caught.value)
    assert "dead_letters.per_minute: expected at most 10 dead letters per minute, found 11" in said
    assert "not_json: expected an object (telemetry, partition 3, offset 9)" in said


def test_as_many_as_are_allowed_go_on_for_ever() -> None:
    now = 0.0
    publisher = DeadLetterPublisher(None, 10, Metrics(), lambda: now)  # type: ignore[arg-type]
    for _ in range(5):
        publisher.admit([REJECTION] * 10, 10)
        now += 60
    assert now == 300


def test_a_topic_that_no_key_opens_is_not_drained_however_often_a_supervisor_starts_the_worker() -> None:
    for start in range(20):
        # All that an earlier worker sent is longer ago than the minute that is counted.
        publisher = DeadLetterPublisher(None, 1000, Metrics(), lambda start=start: 61.0 * start)  # type: ignore[arg-type,misc]
        with pytest.raises(
            CircuitBreakerError, match="certs: expected private keys that decrypt the records"
        ) as caught:
            publisher.admit([UNDECRYPTABLE] * 450 + [UNKNOWN] * 451, 1000)
        assert "found none for 901 of 1000 records of a batch" in str(caught.value)


@pytest.mark.parametrize(
    ("letters", "records"),
    [
        # A few of a host with a wrong key; the same among others; no good ones, but their keys are there.
        ([UNDECRYPTABLE] * 99, 99),
        ([UNDECRYPTABLE] * 899, 1000),
        ([REJECTION] * 1000, 1000),
        ([], 1000),
    ],
)
def test_a_batch_that_some_key_opens_or_a_small_one_goes_on(
    letters: list[tuple[Record, InvalidRecordError]], records: int
) -> None:
    publisher = DeadLetterPublisher(None, 1000, Metrics())  # type: ignore[arg-type]
    publisher.admit(letters, records)
    # They were let through, and counted.
    with pytest.raises(CircuitBreakerError, match="at most 1000 dead letters per minute, found 1001"):
        publisher.admit([REJECTION] * (1001 - len(letters)), 2000)


def test_records_that_no_key_opens_are_let_through_where_the_limit_is_raised() -> None:
    publisher = DeadLetterPublisher(None, 10_001, Metrics())  # type: ignore[arg-type]
    publisher.admit([UNDECRYPTABLE] * 1000, 1000)
    with pytest.raises(CircuitBreakerError, match="at most 10001 dead letters per minute, found 10002"):
        publisher.admit([REJECTION] * 9002, 9002)
