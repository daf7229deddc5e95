"""JSON of responses, encoded in slices: a long one would block the event loop."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from sparkle_app.web.slices import Slices

# A plugin may store values that JSON cannot express.
_encode = msgspec.json.Encoder(enc_hook=str, decimal_format="number").encode
_ITEMS = 500
"""Encoded at once: less than a millisecond."""


async def encode(body: msgspec.Struct, slices: Slices) -> bytes:
    """The same bytes as ``msgspec.json.encode``, if no field of a long body is omitted."""
    fields = [(field.encode_name, getattr(body, field.name)) for field in msgspec.structs.fields(body)]
    if not any(map(_is_long, (value for _, value in fields))):
        return _encode(body)
    pieces = []
    async with slices.computation() as computation:
        for piece in _object(fields):
            pieces.append(piece)
            await computation.pause()
        return b"".join(pieces)


def _is_long(value: Any) -> bool:
    return isinstance(value, dict | list) and (len(value) > _ITEMS or _holds_lists(value))


def _holds_lists(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    # Objects of a dict are of one type.
    first = next(iter(value.values()), None)
    return bool(_columns(first)) or any(isinstance(each, list) for each in value.values())


def _columns(value: Any) -> dict[str, Any] | None:
    """The fields of an object that has lists."""
    if not isinstance(value, msgspec.Struct) or value.__struct_config__.array_like:
        return None
    fields = {field.encode_name: getattr(value, field.name) for field in msgspec.structs.fields(value)}
    return fields if any(isinstance(each, list) for each in fields.values()) else None


def _object(items: Iterable[tuple[str, Any]]) -> Iterator[bytes]:
    separator = b"{"
    for name, value in items:
        yield separator + _encode(name) + b":"
        yield from _value(value)
        separator = b","
    yield b"}"


def _value(value: Any) -> Iterator[bytes]:
    value = _columns(value) or value
    if not _is_long(value):
        yield _encode(value)
    elif _holds_lists(value):
        yield from _object(value.items())
    elif isinstance(value, dict):
        yield from _joined(b"{", map(dict, _chunks(value.items())), b"}")
    else:
        yield from _joined(b"[", _chunks(value), b"]")


def _joined(first: bytes, chunks: Iterable[Any], closing: bytes) -> Iterator[bytes]:
    separator = first
    for chunk in chunks:
        yield separator
        yield _encode(chunk)[1:-1]
        separator = b","
    yield closing


def _chunks(items: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while chunk := list(islice(rest, _ITEMS)):
        yield chunk
