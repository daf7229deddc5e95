"""Configuration of logging."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from sparkle_app.runtime.terminal import LineFormatter

REPEAT_SECONDS = 60.0
"""Interval at which a repeated message of the libraries below is logged."""
_REPETITIVE = ("aiokafka", "aiohttp", "asyncio", "faust.topics")
_REPETITIVE_PREFIXES = tuple(f"{name}." for name in _REPETITIVE)
_MAX_MESSAGES = 1000
_BEGINNING = 80


class RepetitionFilter(logging.Filter):
    """Suppresses repeated messages of some libraries.

    The Kafka client logs 80 lines per second while there is no broker, and asyncio thousands, with tracebacks, while
    the limit of open files keeps it from accepting connections.

    Arguments:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._logged: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Called for each message; returns whether to log it."""
        if not f"{record.name}.".startswith(_REPETITIVE_PREFIXES):
            return True
        # Whoever sent the message has had its error; when a worker stops, nobody waits for it any more.
        if str(record.msg).startswith("FutureMessage exception was never retrieved"):
            return False
        # The format string, since the arguments differ; its beginning, since asyncio appends its objects and Faust the
        # message that was not sent. Another exception makes it another message.
        first_line = str(record.msg).partition("\n")[0][:_BEGINNING]
        key = record.name, f"{first_line} {record.exc_info[0] if record.exc_info else None}"
        now = self._clock()
        at, suppressed = self._logged.get(key, (now - REPEAT_SECONDS, 0))
        if now - at < REPEAT_SECONDS:
            self._logged[key] = at, suppressed + 1
            return False
        if len(self._logged) >= _MAX_MESSAGES:
            self._logged.clear()
        self._logged[key] = now, 0
        if suppressed:
            note = f"similar messages suppressed in the last {now - at:.0f} s: {suppressed}"
            record.msg, record.args = "%s", (f"{record.getMessage()} ({note})",)
        return True


class LogFile(WatchedFileHandler):
    """Appends to a file, which may be rotated. While it cannot be written to, messages go to standard error.

    The code that logs a message never gets an error for it: it may be about to exit, or to retry.
    """

    _failed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Called for each message."""
        try:
            super().emit(record)
            self._failed = False
        except OSError as error:
            # The next message is written to the file again if that works then.
            self._emit_elsewhere(record, error)

    def handleError(self, record: logging.LogRecord) -> None:
        """Called for an exception while a message is written."""
        if isinstance(error := sys.exception(), OSError):
            raise error
        super().handleError(record)

    def _emit_elsewhere(self, record: logging.LogRecord, error: OSError) -> None:
        # Faust replaces sys.stderr by one that logs what is written to it.
        if sys.__stderr__ is None:
            return
        fallback = logging.StreamHandler(sys.__stderr__)
        fallback.setFormatter(self.formatter)
        if not self._failed:
            self._failed = True
            problem = (
                f"{self.baseFilename} cannot be written to: {error.strerror}; messages go to standard error"
            )
            fallback.emit(logging.LogRecord(__name__, logging.ERROR, "", 0, problem, None, None))
        fallback.emit(record)


def logging_config(level: str, *, libraries: str = "WARNING", file: str | None = None) -> dict[str, Any]:
    """The argument of logging.config.dictConfig.

    Arguments:
        level: level of the handler's own messages.
        libraries: level of the messages of libraries.
        file: the file to append to, which may be rotated; by default standard error.
    """
    handler: dict[str, Any] = {
        "class": "logging.StreamHandler",
        "formatter": "line",
        "stream": "ext://sys.stderr",
    }
    if file:
        handler = {
            "()": LogFile,
            "formatter": "line",
            "filename": file,
            "encoding": "utf-8",
        }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {"()": LineFormatter, "fmt": "%(asctime)s %(levelname)s %(name)s: %(message)s"}
        },
        "filters": {"repetitions": {"()": RepetitionFilter}},
        "handlers": {"own": handler, "libraries": {**handler, "filters": ["repetitions"]}},
        # Not the root logger's handler: Faust sets the level of that one to the level of its command line.
        "loggers": {
            "sparkle_app": {"level": level, "handlers": ["own"], "propagate": False},
            # At DEBUG it logs the requests that authenticate, with the password.
            "aiokafka.conn": {"level": "INFO" if libraries == "DEBUG" else libraries},
        },
        "root": {"level": libraries, "handlers": ["libraries"]},
    }


def log_files() -> Iterator[Path]:
    """The files to which this process logs its own messages."""
    for handler in logging.getLogger("sparkle_app").handlers:
        if isinstance(handler, logging.FileHandler):
            yield Path(handler.baseFilename)
