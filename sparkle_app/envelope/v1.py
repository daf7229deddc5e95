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
from sparkle_app.model.time import EARLIEST, LATEST, micros

HOSTNAME_MAX = 1024
KEY_MAX = 255
"""Bytes of UTF-8: both together fit into an entry of PostgreSQL's indexes, which has at most 2,704."""
ID_BYTES = 16


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record of a plugin topic, as the broker holds it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    """The broker's timestamp, milliseconds since the epoch."""
    value: bytes


class Reading(msgspec.Struct, frozen=True):
    """One decrypted reading of one host."""

    id: bytes
    """The first 16 bytes of the ciphertext's SHA-256: a retry or a replay has the same."""
    config_id: int
    hostname: str
    plugin: str
    key: str
    value: Any
    observed_at: int
    """Event time, microseconds since the epoch."""
    received_at: int
    """The broker's time, microseconds since the epoch."""
    clock_trusted: bool
    """False: the host's clock was wrong, and observed_at is the broker's time."""
    topic: str
    partition: int
    offset: int
    local_time: datetime | None = None
    """The host's own time, naive, as it was sent; None once it was stored."""


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

    record: Record
    config_id: int
    hostname: str
    local_time: datetime
    ciphertext: bytes


def open_records(records: Sequence[Record], keyring: Keyring, decrypt: Decrypt) -> list[Reading | BadRecord]:
    """Parse and decrypt records.

    Returns:
        For each, in order, its reading, or the reason why it can never be one.
    """
    parsed: list[_Sealed | BadRecord] = []
    wanted = []
    for record in records:
        try:
            sealed = _unwrapped(record)
            wanted.append((keyring.private_key(sealed.config_id), sealed.ciphertext))
        except BadRecord as bad:
            parsed.append(bad)
        else:
            parsed.append(sealed)
    plaintexts = iter(decrypt(wanted))
    return [each if isinstance(each, BadRecord) else _opened(each, next(plaintexts)) for each in parsed]


def _unwrapped(record: Record) -> _Sealed:
    envelope = _parse(record.value)
    _check_name(envelope.hostname, HOSTNAME_MAX, Reason.BAD_HOSTNAME)
    local_time = _local_time(envelope.datetime, record.timestamp * 1000)
    try:
        ciphertext = binascii.a2b_base64(envelope.payload, strict_mode=True)
    except ValueError as error:
        raise BadRecord(Reason.BAD_BASE64, str(error)) from error
    return _Sealed(record, envelope.config_id, envelope.hostname, local_time, ciphertext)


def _opened(sealed: _Sealed, plaintext: bytes | None) -> Reading | BadRecord:
    try:
        payload = _payload_of(plaintext, sealed.config_id)
        _check_name(payload.key, KEY_MAX, Reason.BAD_PAYLOAD)
    except BadRecord as bad:
        return bad
    record = sealed.record
    received_at = record.timestamp * 1000
    observed_at, trusted = resolve(sealed.local_time, received_at)
    return Reading(
        id=hashlib.sha256(sealed.ciphertext).digest()[:ID_BYTES],
        config_id=sealed.config_id,
        hostname=sealed.hostname,
        plugin=payload.plugin,
        key=payload.key,
        value=payload.value,
        observed_at=observed_at,
        received_at=received_at,
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
