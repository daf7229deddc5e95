"""Output that contains text from outside, such as hostnames: a terminal must not interpret it."""

import json
import logging
import re
from datetime import datetime
from typing import Any

import msgspec


def is_utf8(text: str) -> bool:
    """Whether a text can be encoded: an argument that is not UTF-8 contains lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 reading``, ``2 readings``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str, keep: str = "") -> str:
    r"""The text with characters that are not printable, such as those of escape sequences, as ``\x1b`` or ``\u202e``.

    Arguments:
        keep: characters to leave as they are.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else ascii(each)[1:-1] for each in text)


def json_line(value: Any) -> str:
    """The value as JSON, in which control characters are escaped: it is exact and can be printed."""
    try:
        text = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        # A lone surrogate, which JSON can contain as an escape sequence.
        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False, separators=(",", ":"))
    # The encoder escapes the others.
    return re.sub("[\x7f-\x9f\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


class LineFormatter(logging.Formatter):
    """Escapes characters that are not printable, and indents continuation lines: no message can forge another.

    Times are local, with their UTC offset: workers on several machines need not have the same time zone.
    """

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Called for each message."""
        return datetime.fromtimestamp(record.created).astimezone().isoformat(" ", "milliseconds")

    def format(self, record: logging.LogRecord) -> str:
        """Called for each message."""
        return printable(super().format(record), keep="\n\t").replace("\n", "\n  ")
