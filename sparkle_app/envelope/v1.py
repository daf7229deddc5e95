"""The collectors' wire format: JSON records with a payload that is encrypted with RSA-OAEP (docs/wire-format.md)."""

import binascii
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec

from sparkle_app.envelope.clock import resolve
from sparkle_app.envelope.keyring import Keyring
from sparkle_app.envelope.rsa import Decrypt
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.reading import Reading
from sparkle_app.model.record import Outcome, Record

HOSTNAME_MAX = 1024
KEY_MAX = 255
"""In bytes of UTF-8. Both together fit into an index entry of PostgreSQL, which has at most 2,704 bytes."""
ID_BYTES = 16


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    config_id: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
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
    """A parsed record whose payload is not decrypted yet."""

    config_id: int
    hostname: str
    local_time: datetime
    ciphertext: bytes


def decrypt_records(records: Sequence[Record], keyring: Keyring, decrypt: Decrypt) -> list[Outcome]:
    """Parse and decrypt records of one reading each.

    Returns:
        For each record, in order, its reading or its error.
    """
    outcomes = [Outcome(record, [], []) for record in records]
    encrypted: list[tuple[Outcome, _Encrypted]] = []
    ciphertexts = []
    for outcome in outcomes:
        try:
            each = _parse_record(outcome.record)
            ciphertexts.append((keyring.private_key(each.config_id), each.ciphertext))
        except InvalidRecordError as error:
            outcome.errors.append(error)
        else:
            encrypted.append((outcome, each))
    plaintexts = decrypt(ciphertexts)
    for (outcome, each), (key, _), decrypted in zip(encrypted, ciphertexts, plaintexts, strict=True):
        plaintext = decrypted
        if plaintext is None:
            keyring.reload(each.config_id)
            if (replaced := keyring.private_key(each.config_id)) is not key:
                (plaintext,) = decrypt([(replaced, each.ciphertext)])
        try:
            if plaintext is None:
                detail = f"{keyring.name(each.config_id)} does not decrypt the payload"
                raise InvalidRecordError(Reason.UNDECRYPTABLE, detail)
            outcome.readings.append(_reading_of(outcome.record, each, plaintext))
        except InvalidRecordError as error:
            outcome.errors.append(error)
    return outcomes


def _parse_record(record: Record) -> _Encrypted:
    if not record.value:
        found = f"one of {record.omitted_bytes} bytes" if record.omitted_bytes else "none"
        raise InvalidRecordError(Reason.NOT_JSON, f"expected a value that is not too large, found {found}")
    envelope = _parse_envelope(record.value)
    check_hostname(envelope.hostname)
    local_time = _local_time(envelope.datetime)
    try:
        ciphertext = binascii.a2b_base64(envelope.payload, strict_mode=True)
    except ValueError as error:
        raise InvalidRecordError(Reason.BAD_BASE64, str(error)) from error
    return _Encrypted(envelope.config_id, envelope.hostname, local_time, ciphertext)


def check_hostname(hostname: str) -> None:
    """Check a hostname as a record's.

    Raises:
        InvalidRecordError: if it is empty, too long, or not valid UTF-8.
    """
    _check_name(hostname, HOSTNAME_MAX, Reason.BAD_HOSTNAME)


def check_key(key: str) -> None:
    """Check a metric as a record's.

    Raises:
        InvalidRecordError: if it is empty, too long, or not valid UTF-8.
    """
    _check_name(key, KEY_MAX, Reason.BAD_PAYLOAD)


def _reading_of(record: Record, encrypted: _Encrypted, plaintext: bytes) -> Reading:
    payload = _parse_payload(plaintext)
    check_key(payload.key)
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


def _parse_envelope(value: bytes) -> _Envelope:
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
        raise InvalidRecordError(reason, "contains a lone surrogate") from error
    if not 0 < size <= max_bytes:
        raise InvalidRecordError(reason, f"expected 1 to {max_bytes} bytes of UTF-8, found {size}")
    if "\0" in name:
        raise InvalidRecordError(reason, "contains a NUL character")


def _local_time(text: str) -> datetime:
    try:
        local = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRecordError(Reason.BAD_DATETIME, "expected ISO 8601") from error
    if local.tzinfo is not None:
        raise InvalidRecordError(Reason.BAD_DATETIME, "expected local time without a UTC offset")
    return local


def _parse_payload(plaintext: bytes) -> _Payload:
    try:
        return _payload.decode(plaintext)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # The parser's own message may quote the decrypted text.
        raise InvalidRecordError(
            Reason.BAD_PAYLOAD, "expected an object with plugin, key and value"
        ) from error
