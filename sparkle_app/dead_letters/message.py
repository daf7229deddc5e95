"""The format of dead letters, and of the replay tokens of replayed records.

The value of a dead letter is the value of the record as it was received, so still encrypted. The key is the record's
topic, partition, offset and timestamp: in a topic that was deleted and created again, offsets begin again at 0. Of a
record with an implausible timestamp, the key has this one, and not the time of its arrival, which is another one when
the record is redelivered. Headers contain the reason and, encrypted, the cause. A value that is too large for a worker
(kafka/record_sizes.py) or for the dead-letter topic is omitted: the record is then available only in its own topic,
until that topic's log retention deletes it.

The topic is compacted: a dead letter that is produced once more after a crash replaces the earlier one, and a tombstone
deletes the dead letter of a record that was stored after a replay.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from sparkle_app.kafka.topology import MAX_MESSAGE_BYTES
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.record import Record
from sparkle_app.model.time import from_millis, rfc3339, to_millis
from sparkle_app.runtime.terminal import printable
from sparkle_app.sealed.cipher import Cipher, DecryptionError

REPLAY_HEADER = "sparkle-replay"
_HEADROOM_BYTES = 65_536
"""For key and headers."""
MAX_VALUE_BYTES = MAX_MESSAGE_BYTES - _HEADROOM_BYTES
"""Bytes, if the dead-letter topic has the ``max.message.bytes`` with which it is created."""
_HEADER = "sparkle-{}"
_CAUSE_HEADER = "sparkle-cause"
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1


class Sender(msgspec.Struct, frozen=True):
    """Plaintext fields of a record; None where a field cannot be read, or is a list or an object."""

    config_id: Any = None
    hostname: Any = None


class Cause(msgspec.Struct, frozen=True, array_like=True):
    """What a dead letter contains encrypted: the detail of its error, and what was decrypted of the record."""

    detail: str
    plugin: str | None = None
    metric: str | None = None


class DeadLetter(msgspec.Struct, frozen=True):
    """One dead letter."""

    record: Record
    reason: Reason
    sender: Sender
    size: int
    """Bytes of the record's value, even if the dead letter does not contain it."""
    index: int | None = None
    """Which reading of the record; None: the whole record."""
    cause: Cause | None = None
    """None if it cannot be decrypted, or an earlier release produced the dead letter."""

    @property
    def whole(self) -> bool:
        """Whether the dead letter contains the record's value. One without a value can never be stored."""
        return self.size == len(self.record.value) > 0


_sender = msgspec.json.Decoder(Sender)
_cause = msgspec.msgpack.Decoder(Cause)


class _Origin(msgspec.Struct, array_like=True):
    """The content of a replay token."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    # Tokens of earlier versions end with the timestamp, or with `legacy`.
    legacy: bool = True
    implausible: int | None = None


_origin = msgspec.msgpack.Decoder(_Origin)


def dead_letter_key(record: Record, index: int | None = None) -> bytes:
    """``TOPIC/PARTITION/OFFSET@TIMESTAMP`` of the record, followed by ``/INDEX`` for one of its readings.

    The timestamp is the record's own, even if it is implausible, in milliseconds since the epoch. The keys of earlier
    versions have none.
    """
    own = to_millis(record.received_at) if record.timestamp is None else record.timestamp
    timestamp = "" if record.legacy else f"@{own}"
    suffix = "" if index is None else f"/{index}"
    return f"{record.topic}/{record.partition}/{record.offset}{timestamp}{suffix}".encode()


def key_without_timestamp(key: bytes) -> bytes:
    """``TOPIC/PARTITION/OFFSET``, or ``TOPIC/PARTITION/OFFSET/INDEX``, of the key of a dead letter."""
    return re.sub(rb"@-?\d+", b"", key)


def dead_letter_value(record: Record, max_message_bytes: int = MAX_MESSAGE_BYTES) -> bytes:
    """The record's value; empty if it is too large for a topic with this ``max.message.bytes``."""
    return record.value if len(record.value) <= max_message_bytes - _HEADROOM_BYTES else b""


def dead_letter_headers(record: Record, error: InvalidRecordError, cipher: Cipher) -> dict[str, bytes]:
    """The reason, the origin of the record, and the encrypted cause."""
    fields = {
        "reason": error.reason.value,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": to_millis(record.received_at),
        "size": record.omitted_bytes or len(record.value),
    }
    if record.timestamp is not None:
        fields["implausible-timestamp"] = record.timestamp
    if error.index is not None:
        fields["index"] = error.index
    cause = msgspec.msgpack.encode(Cause(error.detail, error.plugin, error.metric))
    return {
        **{_HEADER.format(name): str(field).encode() for name, field in fields.items()},
        _CAUSE_HEADER: cipher.encrypt(cause, _cause_data(record, error.index)),
    }


def parse_dead_letter(
    value: bytes, headers: Mapping[str, bytes], cipher: Cipher | None = None, key: bytes = b""
) -> DeadLetter:
    """A dead letter from its value, headers and key; the inverse of :func:`dead_letter_headers`.

    Arguments:
        cipher: decrypts the cause; None: it is not needed.

    Raises:
        ValueError: if it was not produced by the handler.
    """
    try:
        reason, topic = (headers[_HEADER.format(name)].decode() for name in ("reason", "topic"))
        partition, offset, timestamp, size = (
            _integer(headers[_HEADER.format(name)]) for name in ("partition", "offset", "timestamp", "size")
        )
        own, number = (
            None if (field := headers.get(_HEADER.format(name))) is None else _integer(field)
            for name in ("implausible-timestamp", "index")
        )
        received_at = from_millis(timestamp)
        # Dead letters of earlier versions have timestamps that are implausible.
        rfc3339(received_at)
        record = Record(topic, partition, offset, received_at, value, timestamp=own)
        if key == key_without_timestamp(dead_letter_key(record, number)):
            record = msgspec.structs.replace(record, legacy=True)
        cause = _decrypted_cause(record, number, headers.get(_CAUSE_HEADER), cipher)
        return DeadLetter(record, Reason(reason), sender_of(value), size, number, cause)
    except KeyError as error:
        raise ValueError(f"expected the header {error.args[0]}, found none") from error
    except (AttributeError, TypeError, OverflowError, msgspec.DecodeError) as error:
        raise ValueError(f"expected the headers of a dead letter, found {error}") from error


def _integer(text: bytes) -> int:
    number = int(text)
    if not _MIN_INTEGER <= number <= _MAX_INTEGER:
        raise ValueError(f"expected an integer of 64 bits, found {number}")
    return number


def make_replay_token(record: Record, cipher: Cipher) -> bytes:
    """The value of the header :data:`REPLAY_HEADER`: the record's original topic, partition, offset and timestamps.

    The token is encrypted, and valid for this value only. So somebody who can only write to the topic can neither
    change the timestamp of a record nor cause a tombstone for another dead letter.
    """
    at = to_millis(record.received_at)
    origin = _Origin(record.topic, record.partition, record.offset, at, record.legacy, record.timestamp)
    return cipher.encrypt(msgspec.msgpack.encode(origin), _associated_data(record.value))


def replayed_record(value: bytes, token: bytes, cipher: Cipher) -> Record | None:
    """The record with its original position and timestamp; None if the token is not valid for ``value``."""
    try:
        origin = _origin.decode(cipher.decrypt(token, _associated_data(value)))
        at = from_millis(origin.timestamp)
        return Record(
            origin.topic,
            origin.partition,
            origin.offset,
            at,
            value,
            replayed=True,
            legacy=origin.legacy,
            timestamp=origin.implausible,
        )
    except DecryptionError:
        return None


def quoted(text: Any) -> str:
    """A field of a record as it is shown: at most 60 characters, no control characters, - if there is none."""
    # The fields of an invalid record may have any type and length.
    return "-" if text in (None, "") else printable(str(text))[:60]


def _decrypted_cause(
    record: Record, index: int | None, sealed: bytes | None, cipher: Cipher | None
) -> Cause | None:
    if not sealed or not cipher:
        return None
    try:
        return _cause.decode(cipher.decrypt(sealed, _cause_data(record, index)))
    except DecryptionError:
        return None


def _cause_data(record: Record, index: int | None) -> bytes:
    return b"sparkle dead letter " + dead_letter_key(record, index)


def _associated_data(value: bytes) -> bytes:
    return b"sparkle replay " + hashlib.sha256(value).digest()


def sender_of(value: bytes) -> Sender:
    """The plaintext fields of a record."""
    try:
        sender = _sender.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Sender()
    return Sender(_scalar(sender.config_id), _scalar(sender.hostname))


def _scalar(field: Any) -> Any:
    # What is nested as deeply as can be decoded cannot be shown: its representation needs one level more.
    return None if isinstance(field, list | dict) else field
