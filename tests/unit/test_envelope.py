"""Parsing and decrypting the collectors' records."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from Crypto.Cipher import PKCS1_OAEP
from Crypto.PublicKey import RSA
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparkle_app.envelope.keyring import Keyring
from sparkle_app.envelope.rsa import decrypt_each
from sparkle_app.envelope.v1 import decrypt_records
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.reading import Reading
from sparkle_app.model.record import Record
from sparkle_app.model.time import micros
from tests.support.keys import private_key_pem

KEY = RSA.import_key(private_key_pem(0))
OTHER_KEY = RSA.import_key(private_key_pem(1))
SENT_AT = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    folder = tmp_path_factory.mktemp("certs")
    (folder / "rsa_key_7").write_bytes(KEY.export_key())
    return Keyring(folder)


def encrypted(inner: Any, key: RSA.RsaKey = KEY) -> str:
    text = inner if isinstance(inner, bytes) else json.dumps(inner).encode()
    return base64.b64encode(PKCS1_OAEP.new(key.public_key()).encrypt(text)).decode()


def record(received_at: int = micros(SENT_AT), **changes: Any) -> Record:
    fields = {
        "config_id": 7,
        "hostname": "web-1",
        "datetime": "2026-11-23T15:00:00.250000",
        "payload": encrypted({"plugin": "Temperature", "key": "coretemp/Core 0", "value": 42.5}),
    } | changes
    value = json.dumps({name: value for name, value in fields.items() if value is not None}).encode()
    return Record("telemetry", 3, 99, received_at, value)


def decrypt_one(record: Record, keyring: Keyring) -> Reading:
    [outcome] = decrypt_records([record], keyring, decrypt_each)
    assert outcome.record is record
    assert len(outcome.readings) + len(outcome.errors) == 1
    for error in outcome.errors:
        raise error
    return outcome.readings[0]


def test_a_record_becomes_a_reading(keyring: Keyring) -> None:
    sent = record()
    reading = decrypt_one(sent, keyring)
    ciphertext = base64.b64decode(json.loads(sent.value)["payload"])
    assert reading.id == hashlib.sha256(ciphertext).digest()[:16]
    assert (reading.config_id, reading.hostname, reading.plugin) == (7, "web-1", "Temperature")
    assert (reading.key, reading.value) == ("coretemp/Core 0", 42.5)
    assert reading.observed_at == micros(SENT_AT) + 250_000
    assert reading.received_at == micros(SENT_AT)
    assert reading.clock_trusted
    assert (reading.topic, reading.partition, reading.offset) == ("telemetry", 3, 99)


def test_a_duplicate_has_the_same_id_and_another_reading_a_different_one(keyring: Keyring) -> None:
    sent = record()
    duplicate = Record("telemetry", 5, 1, sent.received_at + 60_000_000, sent.value)
    assert decrypt_one(duplicate, keyring).id == decrypt_one(sent, keyring).id
    assert decrypt_one(record(), keyring).id != decrypt_one(sent, keyring).id


def test_a_datetime_without_microseconds_is_valid(keyring: Keyring) -> None:
    assert decrypt_one(record(datetime="2026-11-23T15:00:00"), keyring).observed_at == micros(SENT_AT)


def test_a_wrong_clock_is_flagged(keyring: Keyring) -> None:
    reading = decrypt_one(record(datetime="2019-01-01T00:00:00"), keyring)
    assert not reading.clock_trusted
    assert reading.observed_at == reading.received_at


@pytest.mark.parametrize("hostname", ["a/b", "ветка", "😀" * 256, "x" * 1000, " ", "..", "hosts"])
def test_unusual_hostnames_are_valid(keyring: Keyring, hostname: str) -> None:
    assert decrypt_one(record(hostname=hostname), keyring).hostname == hostname


INVALID = {
    "not json": (Record("t", 0, 0, 0, b"\xffnot json"), Reason.NOT_JSON),
    "an empty value": (Record("t", 0, 0, 0, b""), Reason.NOT_JSON),
    "an array": (Record("t", 0, 0, 0, b"[]"), Reason.NOT_JSON),
    "deep nesting": (Record("t", 0, 0, 0, b'{"x":' * 100_000), Reason.NOT_JSON),
    "no hostname field": (record(hostname=None), Reason.BAD_FIELD),
    "config_id is a string": (record(config_id="7"), Reason.BAD_FIELD),
    "config_id is true": (record(config_id=True), Reason.BAD_FIELD),
    "payload is a number": (record(payload=1), Reason.BAD_FIELD),
    "an empty hostname": (record(hostname=""), Reason.BAD_HOSTNAME),
    "a hostname with NUL": (record(hostname="a\0b"), Reason.BAD_HOSTNAME),
    "a hostname that is too long": (record(hostname="x" * 1025), Reason.BAD_HOSTNAME),
    "an invalid datetime": (record(datetime="yesterday"), Reason.BAD_DATETIME),
    "a datetime with an offset": (record(datetime="2026-11-23T15:00:00+03:00"), Reason.BAD_DATETIME),
    "invalid base64": (record(payload="!!!!"), Reason.BAD_BASE64),
    "truncated base64": (record(payload=encrypted({})[:-5]), Reason.BAD_BASE64),
    "an unknown config_id": (record(config_id=8), Reason.UNKNOWN_CONFIG),
    "the largest config_id": (record(config_id=2**63 - 1), Reason.UNKNOWN_CONFIG),
    "a huge config_id": (record(config_id=2**63), Reason.BAD_FIELD),
    "the smallest config_id": (record(config_id=-(2**63)), Reason.UNKNOWN_CONFIG),
    "a config_id below it": (record(config_id=-(2**63) - 1), Reason.BAD_FIELD),
    "a config_id of 4,000 digits": (record(config_id=10**3999), Reason.BAD_FIELD),
    "encrypted with another key": (
        record(payload=encrypted({"plugin": "T", "key": "k", "value": 1}, OTHER_KEY)),
        Reason.UNDECRYPTABLE,
    ),
    "an empty payload": (record(payload=""), Reason.UNDECRYPTABLE),
    "the plaintext is not JSON": (record(payload=encrypted(b"hello")), Reason.BAD_PAYLOAD),
    "the plaintext is an array": (record(payload=encrypted([1])), Reason.BAD_PAYLOAD),
    "the plaintext has no value": (
        record(payload=encrypted({"plugin": "T", "key": "k"})),
        Reason.BAD_PAYLOAD,
    ),
    "the plaintext contains NaN": (
        record(payload=encrypted({"plugin": "T", "key": "k", "value": float("nan")})),
        Reason.BAD_PAYLOAD,
    ),
    "a key with NUL": (
        record(payload=encrypted({"plugin": "T", "key": "a\0", "value": 1})),
        Reason.BAD_PAYLOAD,
    ),
    "an empty key": (
        record(payload=encrypted({"plugin": "T", "key": "", "value": 1})),
        Reason.BAD_PAYLOAD,
    ),
    "a lone surrogate": (
        Record("t", 0, 0, 0, b'{"config_id":7,"hostname":"\\ud800","datetime":"","payload":""}'),
        Reason.NOT_JSON,
    ),
}


@pytest.mark.parametrize(("omitted", "found"), [(0, "none"), (1_200_000, "one of 1200000 bytes")])
def test_the_error_for_a_missing_value_says_how_large_it_was(
    keyring: Keyring, omitted: int, found: str
) -> None:
    (outcome,) = decrypt_records([Record("t", 0, 0, 0, b"", omitted_bytes=omitted)], keyring, decrypt_each)
    (error,) = outcome.errors
    assert error.detail == f"expected a value that is not too large, found {found}"


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_record_has_its_reason(keyring: Keyring, name: str) -> None:
    invalid, reason = INVALID[name]
    with pytest.raises(InvalidRecordError) as caught:
        decrypt_one(invalid, keyring)
    assert caught.value.reason is reason


def test_an_error_never_quotes_decrypted_text(keyring: Keyring) -> None:
    with pytest.raises(InvalidRecordError) as caught:
        decrypt_one(record(payload=encrypted({"plugin": 98765, "key": "secret", "value": 98765})), keyring)
    assert "98765" not in str(caught.value)
    assert "secret" not in str(caught.value)


@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda children: st.lists(children) | st.dictionaries(st.text(), children),
        ).map(lambda value: json.dumps(value).encode()),
        st.fixed_dictionaries(
            {
                "config_id": st.just(7) | st.integers() | st.text(),
                "hostname": st.text() | st.integers(),
                "datetime": st.datetimes().map(str) | st.text(),
                "payload": st.binary().map(lambda raw: base64.b64encode(raw).decode()) | st.text(),
            }
        ).map(lambda value: json.dumps(value).encode()),
    ),
    st.integers(-(2**63), 2**63 - 1),
)
def test_arbitrary_values_are_invalid_records(keyring: Keyring, value: bytes, received_at: int) -> None:
    with pytest.raises(InvalidRecordError):
        decrypt_one(Record("t", 0, 0, received_at, value), keyring)


def test_records_are_decrypted_with_a_key_that_was_replaced_after_it_had_been_loaded(tmp_path: Path) -> None:
    path = tmp_path / "rsa_key_7"
    path.write_bytes(private_key_pem(1))
    keys = Keyring(tmp_path)
    sent = [record(), record()]
    assert [outcome.errors[0].reason for outcome in decrypt_records(sent, keys, decrypt_each)] == [
        Reason.UNDECRYPTABLE,
        Reason.UNDECRYPTABLE,
    ]
    path.write_bytes(private_key_pem(0))
    assert [len(outcome.readings) for outcome in decrypt_records(sent, keys, decrypt_each)] == [1, 1]
