"""What plugins return, checked: a plugin that fails never ends the collector."""

import json
import logging
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

QUIET_SECONDS = 3600

logger = logging.getLogger("collector")


class Problems:
    """Logs each problem at most once an hour, however often it occurs."""

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}

    def report(self, where: str, problem: str) -> None:
        """Log one line, unless there was one about ``where`` in the last hour."""
        now = time.monotonic()
        if now - self._logged.get(where, -QUIET_SECONDS) >= QUIET_SECONDS:
            self._logged[where] = now
            logger.warning("%s", printable(f"{where}: {problem}"))


def read_plugins(
    plugins: list[ModuleType], max_bytes: int, problems: Problems
) -> Iterator[tuple[ModuleType, str, Any]]:
    """Plugin, key and value of each reading that can be sent. What cannot be sent is reported and left out.

    Arguments:
        max_bytes: maximum length of a payload's plaintext.
    """
    for plugin in plugins:
        try:
            payload = plugin.get_payload()
            items = list(payload.items()) if isinstance(payload, dict) else None
        # A plugin may raise any exception, and even call sys.exit().
        except (Exception, SystemExit) as error:
            problems.report(f"plugin {plugin.NAME}", f"failed, {describe(error)}; its readings are left out")
            continue
        if items is None:
            found = type(payload).__name__
            problems.report(
                f"plugin {plugin.NAME}",
                f"get_payload() returned a {found}, expected a dict; its readings are left out",
            )
            continue
        left_out = []
        for key, value in items:
            problem = problem_of(plugin.NAME, key, value, max_bytes)
            if problem:
                left_out.append(f"key {key[:60]!r}: {problem}" if isinstance(key, str) else problem)
            else:
                yield plugin, key, value
        if left_out:
            problems.report(
                f"plugin {plugin.NAME}, readings", f"{len(left_out)} of {len(items)} left out, {left_out[0]}"
            )


def problem_of(plugin: str, key: Any, value: Any, max_bytes: int) -> str | None:
    """Why a reading cannot be sent, or None."""
    if not isinstance(key, str):
        return f"expected a key of type str, found {type(key).__name__}"
    try:
        key.encode()
        size = len(reading_json(plugin, key, value))
    except UnicodeEncodeError as error:
        return f"expected a key in UTF-8, found {describe(error)}"
    # RecursionError: a list that contains itself, or a very deep one.
    except (TypeError, ValueError, RecursionError) as error:
        return f"expected a value that JSON can express, found {type(value).__name__}: {describe(error)}"
    if size > max_bytes:
        return f"expected at most {max_bytes} bytes of JSON, found {size}"
    return None


def reading_json(plugin: str, key: str, value: Any) -> bytes:
    """The plaintext of a record's payload (docs/wire-format.md).

    Raises:
        TypeError, ValueError: when JSON cannot express the value.
    """
    return json.dumps({"plugin": plugin, "key": key, "value": value}, allow_nan=False).encode()


def describe(error: BaseException) -> str:
    """The error as a part of a line: type and text."""
    name = type(error).__name__
    try:
        return f"{name}: {error}" if str(error) else name
    except Exception:
        return name


def printable(text: str) -> str:
    """The text as one line that cannot affect a terminal: texts of plugins may contain anything."""
    return "".join(each if each.isprintable() else "\ufffd" for each in " ".join(text.split()))
