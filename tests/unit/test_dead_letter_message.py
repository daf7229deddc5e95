"""Dead letters: round trip of value and headers, records without a value, and replay tokens."""

import hashlib
import re
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sparkle_app.dead_letters.message import (
    MAX_VALUE_BYTES,
    Cause,
    Sender,
    dead_letter_headers,
    dead_letter_key,
    dead_letter_value,
    key_without_timestamp,
    make_replay_token,
    parse_dead_letter,
    replayed_record,
    sender_of,
)
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.record import Record
from sparkle_app.sealed.cipher import Cipher

VALUE = '{"config_id": 7, "hostname": "host-1", "payload": "§"}'.encode()
RECORD = Record("telemetry", 3, 1205, 1_700_000_000_123_000, VALUE)
ERROR = InvalidRecordError(Reason.BAD_BASE64, "expected base64")
CIPHER = Cipher(b"k" * 32)


def test_a_dead_letter_contains_the_record_as_received() -> None:
    dead_letter = parse_dead_letter(dead_letter_value(RECORD), dead_letter_headers(RECORD, ERROR, CIPHER))
    assert dead_letter.record == RECORD
    assert dead_letter.reason is Reason.BAD_BASE64
    assert dead_letter.sender == Sender(7, "host-1")
    assert dead_letter.whole
    assert dead_letter_key(RECORD) == b"telemetry/3/1205@1700000000123"
    assert key_without_timestamp(dead_letter_key(RECORD)) == b"telemetry/3/1205"


def test_a_dead_letter_can_be_for_one_reading_of_a_record() -> None:
    error = InvalidRecordError(Reason.INVALID_VALUE, "expected a number", 3)
    dead_letter = parse_dead_letter(dead_letter_value(RECORD), dead_letter_headers(RECORD, error, CIPHER))
    assert (dead_letter.record, dead_letter.index) == (RECORD, 3)
    assert dead_letter_key(RECORD, dead_letter.index) == b"telemetry/3/1205@1700000000123/3"


def test_the_page_about_the_wire_format_names_every_header() -> None:
    page = (Path(__file__).parents[2] / "docs" / "wire-format.md").read_text("utf-8")
    record = Record("telemetry", 3, 1205, 1_700_000_000_123_000, VALUE, timestamp=1)
    headers = dead_letter_headers(record, InvalidRecordError(Reason.INVALID_VALUE, "", 3), CIPHER)
    assert {f"`{name}`" for name in headers} == set(re.findall("`sparkle-(?!replay)[a-z-]+`", page))


@pytest.mark.parametrize("value", [b"junk", b"[1]", b"\xff", b"", b"[" * 100_000])
def test_fields_of_an_unreadable_record_are_none(value: bytes) -> None:
    dead_letter = parse_dead_letter(value, dead_letter_headers(Record("t", 0, 0, 0, value), ERROR, CIPHER))
    assert dead_letter.sender == Sender(None, None)


@pytest.mark.parametrize("field", ["config_id", "hostname"])
@pytest.mark.parametrize(("opening", "closing"), [(b'{"a":', b"}"), (b"[", b"]")])
def test_a_nested_field_is_none_at_every_depth(field: str, opening: bytes, closing: bytes) -> None:
    for depth in (1, *range(900, 1101)):
        nested = opening * depth + b"1" + closing * depth
        sender = sender_of(b'{"%s": %s}' % (field.encode(), nested))
        assert repr(sender) == "Sender(config_id=None, hostname=None)"


def test_the_value_of_a_too_large_record_is_omitted_and_its_size_kept() -> None:
    large = Record("t", 0, 0, 0, b"x" * (MAX_VALUE_BYTES + 1))
    dead_letter = parse_dead_letter(dead_letter_value(large), dead_letter_headers(large, ERROR, CIPHER))
    assert (dead_letter.record.value, dead_letter.size, dead_letter.whole) == (
        b"",
        MAX_VALUE_BYTES + 1,
        False,
    )


def test_a_record_without_a_value_is_not_replayed() -> None:
    """Of a batch that is too large, the sizes of the values are not known."""
    record = Record("telemetry", 3, 42, 1_764_000_000_000_000, b"")
    headers = dead_letter_headers(record, InvalidRecordError(Reason.NOT_JSON, "empty"), CIPHER)
    assert not parse_dead_letter(dead_letter_value(record), headers).whole


def test_the_cause_is_readable_with_the_internal_key_and_for_its_record_only() -> None:
    error = InvalidRecordError(
        Reason.INVALID_VALUE, "expected a number, found a text", 3, "Temperature", "core/0"
    )
    headers = dead_letter_headers(RECORD, error, CIPHER)
    # Whoever can read the topic must not learn what was encrypted.
    assert b"core/0" not in b"".join(headers.values())
    assert b"Temperature" not in b"".join(headers.values())
    cause = parse_dead_letter(VALUE, headers, CIPHER).cause
    assert cause == Cause("expected a number, found a text", "Temperature", "core/0")
    assert parse_dead_letter(VALUE, headers).cause is None
    assert parse_dead_letter(VALUE, headers, Cipher(b"x" * 32)).cause is None
    other = headers | {"sparkle-offset": b"1206"}
    assert parse_dead_letter(VALUE, other, CIPHER).cause is None
    # Produced by an earlier release.
    del headers["sparkle-cause"]
    assert parse_dead_letter(VALUE, headers, CIPHER).cause is None


@pytest.mark.parametrize("without", ["sparkle-reason", "sparkle-offset"])
def test_a_message_without_a_required_header_is_not_a_dead_letter(without: str) -> None:
    headers = dead_letter_headers(RECORD, ERROR, CIPHER)
    del headers[without]
    with pytest.raises(ValueError, match=f"expected the header {without}, found none"):
        parse_dead_letter(b"", headers)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        *product(["reason", "topic"], [None, b"\xff"]),
        *product(["partition", "offset", "timestamp", "size"], [None, b"", b"\xff", b"9" * 20, b"9" * 5000]),
        *product(["implausible-timestamp", "index"], [b"", b"\xff", b"9" * 20, b"9" * 5000]),
    ],
)
def test_a_message_with_a_header_that_cannot_be_read_is_not_a_dead_letter(
    name: str, field: bytes | None
) -> None:
    headers: dict[str, Any] = {**dead_letter_headers(RECORD, ERROR, CIPHER), f"sparkle-{name}": field}
    with pytest.raises(ValueError, match=r"expected|invalid|can't decode|Exceeds"):
        parse_dead_letter(b"", headers)


@pytest.mark.parametrize("timestamp", [b"9223372036854775807", b"-9223372036854775808", b"253402300800000"])
def test_a_dead_letter_has_a_timestamp_that_can_be_shown(timestamp: bytes) -> None:
    headers = dead_letter_headers(RECORD, ERROR, CIPHER) | {"sparkle-timestamp": timestamp}
    with pytest.raises(ValueError, match="expected"):
        parse_dead_letter(b"", headers)


def test_a_replay_token_is_valid_for_its_record_only() -> None:
    token = make_replay_token(RECORD, CIPHER)
    assert replayed_record(RECORD.value, token, CIPHER) == msgspec.structs.replace(RECORD, replayed=True)
    assert replayed_record(RECORD.value + b" ", token, CIPHER) is None
    assert replayed_record(RECORD.value, token, Cipher(b"x" * 32)) is None
    assert replayed_record(RECORD.value, b"telemetry/3/1205", CIPHER) is None


def test_records_at_one_offset_of_two_incarnations_of_a_topic_have_two_keys() -> None:
    again = msgspec.structs.replace(RECORD, received_at=RECORD.received_at + 1000)
    assert dead_letter_key(again) != dead_letter_key(RECORD)


@pytest.mark.parametrize("timestamp", [-1, 0, 130_000, 2**63 - 1])
def test_the_key_has_an_implausible_timestamp_and_keeps_it_in_a_replay(timestamp: int) -> None:
    keys = set()
    for arrival in (RECORD.received_at, RECORD.received_at + 5_000_000):
        record = msgspec.structs.replace(RECORD, received_at=arrival, timestamp=timestamp)
        keys.add(dead_letter_key(record))
        dead_letter = parse_dead_letter(VALUE, dead_letter_headers(record, ERROR, CIPHER), CIPHER)
        assert (dead_letter.record, dead_letter.cause) == (record, Cause("expected base64"))
        replayed = replayed_record(VALUE, make_replay_token(dead_letter.record, CIPHER), CIPHER)
        assert replayed == msgspec.structs.replace(record, replayed=True)
    assert keys == {b"telemetry/3/1205@%d" % timestamp}


@pytest.mark.parametrize("index", [None, 3])
def test_the_key_of_an_earlier_version_survives_a_replay(index: int | None) -> None:
    error = InvalidRecordError(Reason.INVALID_VALUE, "expected a number", index)
    key = b"telemetry/3/1205" + (b"" if index is None else b"/3")
    headers = dead_letter_headers(msgspec.structs.replace(RECORD, legacy=True), error, CIPHER)
    dead_letter = parse_dead_letter(VALUE, headers, CIPHER, key)
    assert dead_letter_key(dead_letter.record, index) == key
    assert dead_letter.cause
    record = replayed_record(VALUE, make_replay_token(dead_letter.record, CIPHER), CIPHER)
    # So its tombstone deletes the dead letter, and one for it replaces it.
    assert record
    assert dead_letter_key(record, index) == key


def test_a_replay_token_of_an_earlier_version_leads_to_a_key_of_that_version() -> None:
    origin = msgspec.msgpack.encode(("telemetry", 3, 1205, 1_700_000_000_123))
    associated = b"sparkle replay " + hashlib.sha256(VALUE).digest()
    record = replayed_record(VALUE, CIPHER.encrypt(origin, associated), CIPHER)
    assert record == msgspec.structs.replace(RECORD, replayed=True, legacy=True)
    assert dead_letter_key(record) == b"telemetry/3/1205"
