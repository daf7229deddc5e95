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
from sparkle_app.model.errors import BadRecord, Reason
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


class _Sealed(msgspec.Struct, frozen=True, gc=False):
    """All of a record but what is encrypted."""

    config_id: int
    hostname: str
    local_time: datetime
    ciphertext: bytes


def open_records(records: Sequence[Record], keyring: Keyring, decrypt: Decrypt) -> list[Outcome]:
    """Parse and decrypt records, each of which holds one reading.

    Returns:
        For each, in order, its reading, or the reason why it can never be one.
    """
    outcomes = [Outcome(record, [], []) for record in records]
    sealed: list[tuple[Outcome, _Sealed]] = []
    wanted = []
    for outcome in outcomes:
        try:
            each = _unwrapped(outcome.record)
            wanted.append((keyring.private_key(each.config_id), each.ciphertext))
        except BadRecord as bad:
            outcome.errors.append(bad)
        else:
            sealed.append((outcome, each))
    for (outcome, each), plaintext in zip(sealed, decrypt(wanted), strict=True):
        try:
            outcome.readings.append(_opened(outcome.record, each, plaintext))
        except BadRecord as bad:
            outcome.errors.append(bad)
    return outcomes


def _unwrapped(record: Record) -> _Sealed:
    envelope = _parse(record.value)
    _check_name(envelope.hostname, HOSTNAME_MAX, Reason.BAD_HOSTNAME)
    local_time = _local_time(envelope.datetime, record.received_at)
    try:
        ciphertext = binascii.a2b_base64(envelope.payload, strict_mode=True)
    except ValueError as error:
        raise BadRecord(Reason.BAD_BASE64, str(error)) from error
    return _Sealed(envelope.config_id, envelope.hostname, local_time, ciphertext)


def _opened(record: Record, sealed: _Sealed, plaintext: bytes | None) -> Reading:
    payload = _payload_of(plaintext, sealed.config_id)
    _check_name(payload.key, KEY_MAX, Reason.BAD_PAYLOAD)
    observed_at, trusted = resolve(sealed.local_time, record.received_at)
    return Reading(
        id=hashlib.sha256(sealed.ciphertext).digest()[:ID_BYTES],
        config_id=sealed.config_id,
        hostname=sealed.hostname,
        plugin=payload.plugin,
        key=payload.key,
        value=payload.value,
        observed_at=observed_at,
        received_at=record.received_at,
        clock_trusted=trusted,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        local_time=sealed.local_time,
    )


def _parse(value: bytes) -> _Envelope:
    try:
        return _envelope.decode(value)
    except msgspec.ValidationError as error:
        reason = Reason.NOT_JSON if str(error).startswith("Expected `object`") else Reason.BAD_FIELD
        raise BadRecord(reason, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(Reason.NOT_JSON, str(error)) from error


def _check_name(name: str, longest: int, reason: Reason) -> None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise BadRecord(reason, "holds half of a surrogate pair") from error
    if not 0 < size <= longest:
        raise BadRecord(reason, f"expected 1 to {longest} bytes of UTF-8, found {size}")
    if "\0" in name:
        raise BadRecord(reason, "holds a NUL character, which no database stores")


def _local_time(text: str, received_at: int) -> datetime:
    try:
        local = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRecord(Reason.BAD_DATETIME, "expected ISO 8601") from error
    if local.tzinfo is not None:
        raise BadRecord(Reason.BAD_DATETIME, "expected the host's local time without an offset")
    if not (EARLIEST <= micros(local) < LATEST and EARLIEST <= received_at < LATEST):
        raise BadRecord(Reason.BAD_DATETIME, "outside the years 2000 to 2100")
    return local


def _payload_of(plaintext: bytes | None, config_id: int) -> _Payload:
    if plaintext is None:
        raise BadRecord(Reason.UNDECRYPTABLE, f"not encrypted for rsa_key_{config_id}")
    try:
        return _payload.decode(plaintext)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # Not the parser's own words: they may quote the decrypted text.
        raise BadRecord(Reason.BAD_PAYLOAD, "expected an object with plugin, key and value") from error
