import msgspec
import pytest

from sparkle_app.dead_letters.message import (
    MAX_VALUE_BYTES,
    Sender,
    dead_letter_headers,
    dead_letter_key,
    dead_letter_value,
    make_replay_token,
    parse_dead_letter,
    replayed_record,
)
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.record import Record
from sparkle_app.sealed.cipher import Cipher

VALUE = '{"config_id": 7, "hostname": "host-1", "payload": "§"}'.encode()
RECORD = Record("telemetry", 3, 1205, 1_700_000_000_123_000, VALUE)
BAD = InvalidRecordError(Reason.BAD_BASE64, "no base64")
CIPHER = Cipher(b"k" * 32)


def test_a_letter_holds_the_record_as_it_came() -> None:
    letter = parse_dead_letter(dead_letter_value(RECORD), dead_letter_headers(RECORD, BAD))
    assert letter.record == RECORD
    assert letter.reason is Reason.BAD_BASE64
    assert letter.sender == Sender(7, "host-1")
    assert letter.whole
    assert dead_letter_key(RECORD) == b"telemetry/3/1205"


def test_a_letter_can_stand_for_one_reading_of_its_record() -> None:
    bad = InvalidRecordError(Reason.INVALID_VALUE, "expected a number", 3)
    letter = parse_dead_letter(dead_letter_value(RECORD), dead_letter_headers(RECORD, bad))
    assert (letter.record, letter.index) == (RECORD, 3)
    assert dead_letter_key(RECORD, letter.index) == b"telemetry/3/1205/3"


@pytest.mark.parametrize("value", [b"junk", b"[1]", b"\xff", b"", b"[" * 100_000])
def test_a_record_that_says_nothing_of_itself_is_a_letter_as_well(value: bytes) -> None:
    letter = parse_dead_letter(value, dead_letter_headers(Record("t", 0, 0, 0, value), BAD))
    assert letter.sender == Sender(None, None)


def test_a_record_too_large_leaves_its_size() -> None:
    large = Record("t", 0, 0, 0, b"x" * (MAX_VALUE_BYTES + 1))
    letter = parse_dead_letter(dead_letter_value(large), dead_letter_headers(large, BAD))
    assert (letter.record.value, letter.size, letter.whole) == (b"", MAX_VALUE_BYTES + 1, False)


@pytest.mark.parametrize("without", ["sparkle-reason", "sparkle-offset"])
def test_what_lacks_a_header_is_no_letter(without: str) -> None:
    headers = dead_letter_headers(RECORD, BAD)
    del headers[without]
    with pytest.raises(ValueError, match=f"expected the header {without}, found none"):
        parse_dead_letter(b"", headers)


def test_a_ticket_is_good_for_its_record_only() -> None:
    token = make_replay_token(RECORD, CIPHER)
    assert replayed_record(RECORD.value, token, CIPHER) == msgspec.structs.replace(RECORD, replayed=True)
    assert replayed_record(RECORD.value + b" ", token, CIPHER) is None
    assert replayed_record(RECORD.value, token, Cipher(b"x" * 32)) is None
    assert replayed_record(RECORD.value, b"telemetry/3/1205", CIPHER) is None
