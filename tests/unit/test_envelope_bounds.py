"""Records at the limits of what is valid. Payloads are not encrypted: the test replaces the RSA decryption."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from sparkle_app.envelope import v1
from sparkle_app.envelope.keyring import Keyring
from sparkle_app.envelope.rsa import Ciphertexts
from sparkle_app.envelope.v1 import decrypt_records
from sparkle_app.model.errors import Reason
from sparkle_app.model.reading import Reading
from sparkle_app.model.record import Outcome, Record
from sparkle_app.model.time import micros
from tests.support.keys import private_key_pem
from tests.support.texts import is_part_of_a_line

SENT_AT = datetime(2026, 11, 23, 12)
INNER: dict[str, Any] = {"plugin": "Temperature", "key": "core/0", "value": 42.5}


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    folder = tmp_path_factory.mktemp("certs")
    for config_id in (7, 8):
        (folder / f"rsa_key_{config_id}").write_bytes(private_key_pem(config_id))
    return Keyring(folder)


def plain(ciphertexts: Ciphertexts) -> list[bytes | None]:
    """Returns the payloads as they are, and None for those that begin with "other", as for another key."""
    return [None if text.startswith(b"other") else text for _, text in ciphertexts]


def record(inner: Any = INNER, received_at: int = micros(SENT_AT), offset: int = 9, **changes: Any) -> Record:
    raw = inner if isinstance(inner, bytes) else json.dumps(inner).encode()
    fields = {
        "config_id": 7,
        "hostname": "web-1",
        "datetime": SENT_AT.isoformat(),
        "payload": b64encode(raw).decode(),
    }
    return Record("telemetry", 3, offset, received_at, json.dumps(fields | changes).encode())


def decrypted(keyring: Keyring, *records: Record) -> Sequence[Outcome]:
    return decrypt_records(records, keyring, plain)


def reason_of(keyring: Keyring, record: Record) -> Reason | None:
    """Why a record is rejected; None if it is valid."""
    (outcome,) = decrypted(keyring, record)
    assert len(outcome.readings) + len(outcome.errors) == 1
    return outcome.errors[0].reason if outcome.errors else None


def test_a_reading_has_all_fields_of_its_record(keyring: Keyring) -> None:
    sent = record(received_at=micros(SENT_AT) + 1_500_000, datetime="2026-11-23T15:00:00.000250")
    (outcome,) = decrypted(keyring, sent)
    raw = json.dumps(INNER).encode()
    assert outcome == Outcome(
        sent,
        [
            Reading(
                id=hashlib.sha256(raw).digest()[:16],
                config_id=7,
                hostname="web-1",
                plugin="Temperature",
                key="core/0",
                value=42.5,
                observed_at=micros(SENT_AT) + 250,
                received_at=micros(SENT_AT) + 1_500_000,
                clock_trusted=True,
                topic="telemetry",
                partition=3,
                offset=9,
                local_time=datetime(2026, 11, 23, 15, 0, 0, 250),
                index=None,
            )
        ],
        [],
    )


def test_each_outcome_belongs_to_its_record_among_invalid_ones(keyring: Keyring) -> None:
    given: list[list[tuple[int, bytes]]] = []

    def decrypt(ciphertexts: Ciphertexts) -> list[bytes | None]:
        keys = {id(keyring.private_key(config_id)): config_id for config_id in (7, 8)}
        given.append([(keys[id(key)], text) for key, text in ciphertexts])
        return plain(ciphertexts)

    inner = [json.dumps(INNER | {"value": number}).encode() for number in range(3)]
    sent = [
        record(b"", payload="!", offset=0),
        record(inner[0], offset=1),
        record(b"other key", offset=2),
        record(config_id=1, offset=3),
        record(inner[1], offset=4, config_id=8),
        record(b"[]", offset=5),
        record(inner[2], offset=6),
    ]
    outcomes = decrypt_records(sent, keyring, decrypt)
    assert [outcome.record for outcome in outcomes] == sent
    assert [[(each.value, each.offset) for each in outcome.readings] for outcome in outcomes] == [
        [], [(0, 1)], [], [], [(1, 4)], [], [(2, 6)],
    ]  # fmt: skip
    assert [[error.reason for error in outcome.errors] for outcome in outcomes] == [
        [Reason.BAD_BASE64], [], [Reason.UNDECRYPTABLE], [Reason.UNKNOWN_CONFIG], [], [Reason.BAD_PAYLOAD], [],
    ]  # fmt: skip
    # In one call, each with its own key, without the records that were rejected before decryption.
    assert given == [[(7, inner[0]), (7, b"other key"), (8, inner[1]), (7, b"[]"), (7, inner[2])]]
    assert decrypt_records([], keyring, decrypt) == []


@pytest.mark.parametrize(
    ("hostname", "reason"),
    [
        ("x", None),
        ("x" * 1024, None),
        ("х" * 512, None),
        ("x" * 1025, Reason.BAD_HOSTNAME),
        ("х" * 513, Reason.BAD_HOSTNAME),
        ("", Reason.BAD_HOSTNAME),
        ("\0", Reason.BAD_HOSTNAME),
        ("a\0", Reason.BAD_HOSTNAME),
    ],
)
def test_a_hostname_has_1_to_1024_bytes_and_no_nul(
    keyring: Keyring, hostname: str, reason: Reason | None
) -> None:
    assert reason_of(keyring, record(hostname=hostname)) == reason


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("x", None),
        ("x" * 255, None),
        ("x" * 256, Reason.BAD_PAYLOAD),
        ("х" * 128, Reason.BAD_PAYLOAD),
        ("", Reason.BAD_PAYLOAD),
        ("\0", Reason.BAD_PAYLOAD),
    ],
)
def test_a_key_has_1_to_255_bytes_and_no_nul(keyring: Keyring, key: str, reason: Reason | None) -> None:
    assert reason_of(keyring, record(INNER | {"key": key})) == reason


@pytest.mark.parametrize(
    "local",
    ["1970-01-01T00:02:10", "1970-01-01", "1999-12-31T23:59:59.999999", "2100-01-01T00:00:00", "0001-01-01T00:00:00",
     "9999-12-31T23:59:59.999999", "2038-01-19T03:14:07"],
)  # fmt: skip
def test_a_wrong_time_is_replaced_by_the_timestamp_of_the_record(keyring: Keyring, local: str) -> None:
    (outcome,) = decrypted(keyring, record(datetime=local))
    (reading,) = outcome.readings
    assert (reading.observed_at, reading.clock_trusted) == (reading.received_at, False)
    assert reading.local_time == datetime.fromisoformat(local)


@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        (b'{"plugin":"T","key":"k","value":null}', None),
        (b'{"plugin":"T","key":"k","value":[{"deep":1}],"more":2}', None),
        (b'{"plugin":"T","key":"k"}', Reason.BAD_PAYLOAD),
        (b'{"plugin":1,"key":"k","value":1}', Reason.BAD_PAYLOAD),
        (b'{"plugin":"\xff","key":"k","value":1}', Reason.BAD_PAYLOAD),
        (b'{"plugin":"T","key":"k","value":' + b"[" * 100_000, Reason.BAD_PAYLOAD),
        (b"", Reason.BAD_PAYLOAD),
        (b"other", Reason.UNDECRYPTABLE),
    ],
)
def test_a_payload_has_a_plugin_a_key_and_any_value(
    keyring: Keyring, inner: bytes, reason: Reason | None
) -> None:
    assert reason_of(keyring, record(inner)) == reason


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "text", [1, "a"], {"a": None}, 10**30])
def test_any_json_value_is_passed_on_unchanged(keyring: Keyring, value: Any) -> None:
    (outcome,) = decrypted(keyring, record(INNER | {"value": value}))
    assert outcome.readings[0].value == value


@pytest.mark.parametrize("payload", ["A", "AA", "AAA", "AA=A", " AAAA", "AAAA\n", "AA-_", "аааа"])
def test_base64_is_strict(keyring: Keyring, payload: str) -> None:
    assert reason_of(keyring, record(payload=payload)) == Reason.BAD_BASE64


def test_a_wrong_number_of_plaintexts_raises(keyring: Keyring) -> None:
    for wrong in (lambda given: plain(given)[1:], lambda given: [*plain(given), b""]):
        with pytest.raises(ValueError, match="zip"):
            decrypt_records([record(), record(b"other")], keyring, wrong)


def detail(keyring: Keyring, bad: Record) -> str:
    """The detail of the error of an invalid record."""
    (outcome,) = decrypted(keyring, bad)
    assert outcome.errors[0].index is None
    return outcome.errors[0].detail


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hostname": "x" * 1025}, ("1024", "1025")),
        ({"inner": INNER | {"key": "x" * 256}}, ("255", "256")),
        ({"hostname": "a\0"}, ("NUL",)),
        ({"datetime": "yesterday"}, ("ISO 8601",)),
        ({"datetime": "2026-11-23T12:00:00Z"}, ("UTC offset",)),
        ({"inner": b"other"}, ("rsa_key_7",)),
        ({"inner": b"[]"}, ("plugin", "key", "value")),
    ],
)
def test_an_error_names_what_was_expected(
    keyring: Keyring, changes: dict[str, Any], named: tuple[str, ...]
) -> None:
    found = detail(keyring, record(**changes))
    assert is_part_of_a_line(found)
    assert [each for each in named if each not in found] == []


def test_an_error_names_where_the_parser_stopped(keyring: Keyring) -> None:
    assert "`$.config_id`" in detail(keyring, record(config_id="7"))
    assert "byte 1" in detail(keyring, Record("telemetry", 0, 0, 0, b"{1:}"))
    assert "base64" in detail(keyring, record(payload="A")).lower()


@pytest.mark.parametrize("inner", [b'{"plugin":"T","key":98765,"value":1}', b"98765 is not JSON"])
def test_an_error_never_quotes_the_decrypted_payload(keyring: Keyring, inner: bytes) -> None:
    assert "98765" not in detail(keyring, record(inner))


def test_a_lone_surrogate_is_rejected_even_if_the_parser_accepts_it(
    keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lenient(value: bytes) -> Any:
        return SimpleNamespace(**json.loads(value))

    sent = Record("telemetry", 3, 9, micros(SENT_AT), record().value.replace(b"web-1", b"\\ud800"))
    assert reason_of(keyring, sent) == Reason.NOT_JSON
    monkeypatch.setattr(v1, "_envelope", SimpleNamespace(decode=lenient))
    assert reason_of(keyring, sent) == Reason.BAD_HOSTNAME
    assert is_part_of_a_line(detail(keyring, sent))
