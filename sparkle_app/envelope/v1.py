"""The collectors' wire format: a JSON record whose payload is RSA-OAEP encrypted (docs/wire-format.md)."""

import binascii
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from sparkle_app.envelope.clock import resolve
from sparkle_app.envelope.keyring import Keyring
from sparkle_app.envelope.rsa import Decrypt
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.reading import Reading
from sparkle_app.model.record import Outcome, Record
from sparkle_app.model.time import EARLIEST, LATEST, micros

HOSTNAME_MAX = 1024
KEY_MAX = 255
"""Bytes of UTF-8: both together fit into an entry of PostgreSQL's indexes, which has at most 2,704."""
ID_BYTES = 16


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    config_id: int
    hostname: str
    datetime: str
    payload: str


class _Payload(msgspec.Struct, frozen=True, gc=False):
    plugin: str
    key: str
    value: Any


_envelope = msgspec.json.Decoder(_Envelope)
_payload = msgspec.json.Decoder(_Payload)


class _Encrypted(msgspec.Struct, frozen=True, gc=False):
    """All of a record but what is encrypted."""

    config_id: int
    hostname: str
    local_time: datetime
    ciphertext: bytes


def decrypt_records(records: Sequence[Record], keyring: Keyring, decrypt: Decrypt) -> list[Outcome]:
    """Parse and decrypt records, each of which holds one reading.

    Returns:
        For each, in order, its reading, or the reason why it can never be one.
    """
    outcomes = [Outcome(record, [], []) for record in records]
    encrypted: list[tuple[Outcome, _Encrypted]] = []
    wanted = []
    for outcome in outcomes:
        try:
            each = _parsed_envelope(outcome.record)
            wanted.append((keyring.private_key(each.config_id), each.ciphertext))
        except InvalidRecordError as bad:
            outcome.errors.append(bad)
        else:
            encrypted.append((outcome, each))
    for (outcome, each), plaintext in zip(encrypted, decrypt(wanted), strict=True):
        try:
            outcome.readings.append(_reading_of(outcome.record, each, plaintext))
        except InvalidRecordError as bad:
            outcome.errors.append(bad)
    return outcomes


def _parsed_envelope(record: Record) -> _Encrypted:
    envelope = _parse(record.value)
    _check_name(envelope.hostname, HOSTNAME_MAX, Reason.BAD_HOSTNAME)
    local_time = _local_time(envelope.datetime, record.received_at)
    try:
        ciphertext = binascii.a2b_base64(envelope.payload, strict_mode=True)
    except ValueError as error:
        raise InvalidRecordError(Reason.BAD_BASE64, str(error)) from error
    return _Encrypted(envelope.config_id, envelope.hostname, local_time, ciphertext)


def _reading_of(record: Record, encrypted: _Encrypted, plaintext: bytes | None) -> Reading:
    payload = _payload_of(plaintext, encrypted.config_id)
    _check_name(payload.key, KEY_MAX, Reason.BAD_PAYLOAD)
    observed_at, trusted = resolve(encrypted.local_time, record.received_at)
    return Reading(
        id=hashlib.sha256(encrypted.ciphertext).digest()[:ID_BYTES],
        config_id=encrypted.config_id,
        hostname=encrypted.hostname,
        plugin=payload.plugin,
        key=payload.key,
        value=payload.value,
        observed_at=observed_at,
        received_at=record.received_at,
        clock_trusted=trusted,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        local_time=encrypted.local_time,
    )


def _parse(value: bytes) -> _Envelope:
    try:
        return _envelope.decode(value)
    except msgspec.ValidationError as error:
        reason = Reason.NOT_JSON if str(error).startswith("Expected `object`") else Reason.BAD_FIELD
        raise InvalidRecordError(reason, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRecordError(Reason.NOT_JSON, str(error)) from error


def _check_name(name: str, max_bytes: int, reason: Reason) -> None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidRecordError(reason, "holds half of a surrogate pair") from error
    if not 0 < size <= max_bytes:
        raise InvalidRecordError(reason, f"expected 1 to {max_bytes} bytes of UTF-8, found {size}")
    if "\0" in name:
        raise InvalidRecordError(reason, "holds a NUL character, which no database stores")


def _local_time(text: str, received_at: int) -> datetime:
    try:
        local = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRecordError(Reason.BAD_DATETIME, "expected ISO 8601") from error
    if local.tzinfo is not None:
        raise InvalidRecordError(Reason.BAD_DATETIME, "expected the host's local time without an offset")
    if not (EARLIEST <= micros(local) < LATEST and EARLIEST <= received_at < LATEST):
        raise InvalidRecordError(Reason.BAD_DATETIME, "outside the years 2000 to 2100")
    return local


def _payload_of(plaintext: bytes | None, config_id: int) -> _Payload:
    if plaintext is None:
        raise InvalidRecordError(Reason.UNDECRYPTABLE, f"not encrypted for rsa_key_{config_id}")
    try:
        return _payload.decode(plaintext)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # Not the parser's own words: they may quote the decrypted text.
        raise InvalidRecordError(
            Reason.BAD_PAYLOAD, "expected an object with plugin, key and value"
        ) from error
