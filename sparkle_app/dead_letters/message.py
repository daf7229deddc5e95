"""Dead letters: what the dead-letter topic holds of a record, and how one is sent back through.

A letter's value is the record's, as it came (still ciphertext); its key names where the record was, and its headers say
why it was refused. A record too large for the topic (compressed, it was small) leaves a letter without its value: it
stays in its own topic for as long as that keeps it.

The topic is compacted: a letter that is written again after a crash replaces itself, and one whose record became a row
is withdrawn by a message without a value.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from sparkle_app.kafka.topology import MAX_MESSAGE_BYTES
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.record import Record
from sparkle_app.model.time import from_millis, to_millis
from sparkle_app.sealed.cipher import Cipher, DecryptionError

REPLAY_HEADER = "sparkle-replay"
MAX_VALUE_BYTES = MAX_MESSAGE_BYTES - 65_536
"""Bytes; key and headers need room as well."""
_HEADER = "sparkle-{}"


class Sender(msgspec.Struct, frozen=True):
    """What a record says of itself in clear; None where it does not say it."""

    config_id: Any = None
    hostname: Any = None


class DeadLetter(msgspec.Struct, frozen=True):
    """One dead letter."""

    record: Record
    reason: Reason
    sender: Sender
    size: int
    """Bytes of the record's value, also where the letter is without it."""
    index: int | None = None
    """Which reading of the record it stands for; None: the record as a whole."""

    @property
    def whole(self) -> bool:
        """Whether the letter holds the record's value."""
        return self.size == len(self.record.value)


_sender = msgspec.json.Decoder(Sender)
_position = msgspec.msgpack.Decoder(tuple[str, int, int, int])


def dead_letter_key(record: Record, index: int | None = None) -> bytes:
    """``TOPIC/PARTITION/OFFSET`` of the record, and ``/INDEX`` where it is about one of its readings."""
    part = "" if index is None else f"/{index}"
    return f"{record.topic}/{record.partition}/{record.offset}{part}".encode()


def dead_letter_value(record: Record) -> bytes:
    """The record's value, or nothing where it is too large."""
    return record.value if len(record.value) <= MAX_VALUE_BYTES else b""


def dead_letter_headers(record: Record, bad: InvalidRecordError) -> dict[str, bytes]:
    """Why the record was refused, and where it was."""
    fields = {
        "reason": bad.reason.value,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": to_millis(record.received_at),
        "size": len(record.value),
    }
    if bad.index is not None:
        fields["index"] = bad.index
    return {_HEADER.format(name): str(field).encode() for name, field in fields.items()}


def parse_dead_letter(value: bytes, headers: Mapping[str, bytes]) -> DeadLetter:
    """The inverse of :func:`dead_letter_headers`.

    Raises:
        ValueError: when it is no letter of this handler.
    """
    try:
        reason, topic, partition, offset, timestamp, size = (
            headers[_HEADER.format(name)].decode()
            for name in ("reason", "topic", "partition", "offset", "timestamp", "size")
        )
        record = Record(topic, int(partition), int(offset), from_millis(int(timestamp)), value)
        index = headers.get(_HEADER.format("index"))
        number = None if index is None else int(index)
        return DeadLetter(record, Reason(reason), _sender_of(value), int(size), number)
    except KeyError as error:
        raise ValueError(f"expected the header {error.args[0]}, found none") from error


def make_replay_token(record: Record, cipher: Cipher) -> bytes:
    """What goes in the header :data:`REPLAY_HEADER` of a record that is sent back: its place and time.

    Sealed for this value: nobody who can only write to the topic can move a record in time, or have another's letter
    withdrawn.
    """
    place = (record.topic, record.partition, record.offset, to_millis(record.received_at))
    return cipher.encrypt(msgspec.msgpack.encode(place), _associated_data(record.value))


def replayed_record(value: bytes, token: bytes, cipher: Cipher) -> Record | None:
    """The record as it was at first; None when the token was not made for it by this handler."""
    try:
        topic, partition, offset, timestamp = _position.decode(cipher.decrypt(token, _associated_data(value)))
        return Record(topic, partition, offset, from_millis(timestamp), value, replayed=True)
    except DecryptionError:
        return None


def _associated_data(value: bytes) -> bytes:
    return b"sparkle replay " + hashlib.sha256(value).digest()


def _sender_of(value: bytes) -> Sender:
    try:
        return _sender.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Sender()
