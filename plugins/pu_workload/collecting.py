"""Plain numbers, keys that fit into a record, and reports of problems that never flood the log.

An identical copy is in every plugin that needs it: a config archive may contain any of them without the others.
"""

from __future__ import annotations

import importlib
import json
import logging
import math
import time
from collections.abc import Callable, Container, Mapping
from typing import Any

QUIET_SECONDS = 3600
KEY_LENGTH = 60
"""Maximum length of a key in characters, without the number of a duplicate."""
KEY_BYTES = 120
"""Maximum length of a key in JSON, where a character has up to 12 bytes. RSA-2048 encrypts at most 214 bytes, and
plugin name, key and value have to fit."""


class Problems:
    """Logs each problem once, and again only after it was absent for an hour.

    Arguments:
        plugin: NAME, with which each line begins.
    """

    def __init__(self, plugin: str) -> None:
        self._plugin = plugin
        self._logger = logging.getLogger(__name__)
        self._last: dict[str, float] = {}
        self.count = 0
        """How often a problem was met, logged or not."""

    def report(self, where: str, problem: object) -> None:
        """Log one line, unless the last problem at ``where`` is less than an hour old."""
        self.count += 1
        now = time.monotonic()
        last = self._last.get(where)
        self._last[where] = now
        if last is None or now - last >= QUIET_SECONDS:
            # A label may contain anything: escape what could break the line or the terminal.
            line = " ".join(f"{where}: {problem}".split()).encode("unicode_escape").decode("ascii")
            self._logger.warning("%s: %s", self._plugin, line)
        if len(self._last) > 1000:
            self._last = {each: at for each, at in self._last.items() if now - at < QUIET_SECONDS}


def import_or_none(name: str) -> Any:
    """The module, or None if it cannot be imported.

    Any exception counts: pynvml for Python 2 is a SyntaxError, psutil fails on systems that it does not know.
    """
    try:
        return importlib.import_module(name)
    except Exception:
        return None


def describe(error: BaseException) -> str:
    """The error as a part of a line: type and text."""
    name = type(error).__name__
    try:
        return f"{name}: {error}" if str(error) else name
    except Exception:
        return name


def collect(
    problems: Problems,
    sources: Mapping[str, Callable[[], Mapping[str, float | None]]],
    expected: str,
    is_valid: Callable[[float], bool],
) -> dict[str, float]:
    """The valid numbers of all sources. A source that raises, and a number that is not valid, is reported and left out.

    Arguments:
        sources: functions that read numbers by key, by what they read. None is a value that is no number.
        expected: what a valid number is, for the log.
    """
    readings: dict[str, float] = {}
    for source, read in sources.items():
        try:
            found = read()
        except Exception as error:
            problems.report(source, f"cannot be read, {describe(error)}")
            continue
        for key, value in found.items():
            if value is not None and is_valid(value):
                readings[key] = value
            else:
                shown = "no number" if value is None else f"{value:.2f}"
                problems.report(key, f"expected {expected}, found {shown}; it is left out")
    return readings


def number(value: Any) -> float | None:
    """The value as a plain float; None if it is not a finite number. Numbers of numpy and Decimal are numbers."""
    if isinstance(value, (bool, str, bytes)):
        return None
    try:
        plain = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return plain if math.isfinite(plain) else None


def printable(name: Any) -> str:
    """The name of a device or sensor as text, whatever the driver returned. What cannot be printed becomes U+FFFD."""
    if isinstance(name, bytes):
        name = name.decode("utf-8", "replace")
    text = "" if name is None else str(name)
    return "".join(each if each.isprintable() else "\ufffd" for each in text.strip())


def unique_key(name: str, taken: Container[str]) -> str:
    """The name as a key: cut to the limits, and numbered ``#2``, ``#3``, … if it is taken."""
    key = name[:KEY_LENGTH]
    while len(json.dumps(key)) - 2 > KEY_BYTES:
        key = key[:-1]
    if key not in taken:
        return key
    duplicate = 2
    while f"{key} #{duplicate}" in taken:
        duplicate += 1
    return f"{key} #{duplicate}"
