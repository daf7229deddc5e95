import pytest

from sparkle_app.errors import BadRecord, Reason
from sparkle_app.ingest.dead_letters import DeadLetterOffice, TooManyDeadLetters
from sparkle_app.metrics import Metrics
from sparkle_app.wire.envelope import Record

LETTER = (Record("telemetry", 3, 9, 0, b""), BadRecord(Reason.UNDECRYPTABLE, "not encrypted for rsa_key_7"))


def test_more_dead_letters_than_a_minute_allows_stop_the_worker() -> None:
    now = 1000.0
    office = DeadLetterOffice(None, 10, Metrics(), lambda: now)  # type: ignore[arg-type]
    office.admit([LETTER] * 10)
    now += 59
    with pytest.raises(TooManyDeadLetters) as caught:
        office.admit([LETTER])
    said = str(caught.value)
    assert "dead_letters.per_minute: expected at most 10 dead letters a minute, found 11" in said
    assert "undecryptable: not encrypted for rsa_key_7 (telemetry, partition 3, offset 9)" in said


def test_as_many_as_are_allowed_go_on_for_ever() -> None:
    now = 0.0
    office = DeadLetterOffice(None, 10, Metrics(), lambda: now)  # type: ignore[arg-type]
    for _ in range(5):
        office.admit([LETTER] * 10)
        now += 60
    assert now == 300
