"""Where log lines go, and which."""

import logging
import time
from collections.abc import Callable
from typing import Any

REPEAT_SECONDS = 60.0
"""How often the same fault of the Kafka client is told."""


class Repetitions(logging.Filter):
    """Leaves out what the Kafka client says again and again: without a broker that is 80 lines a second.

    Arguments:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Called for each line."""
        if not record.name.startswith("aiokafka"):
            return True
        # The template, since every line has its own numbers.
        what = record.name, str(record.msg)
        now = self._clock()
        at, left_out = self._told.get(what, (now - REPEAT_SECONDS, 0))
        if now - at < REPEAT_SECONDS:
            self._told[what] = at, left_out + 1
            return False
        self._told[what] = now, 0
        if left_out:
            text = f"{record.getMessage()} (and {left_out} more like it in the last {now - at:.0f} s)"
            record.msg, record.args = "%s", (text,)
        return True


def logging_config(level: str) -> dict[str, Any]:
    """For logging.config.dictConfig: the handler's own lines from ``level`` on, its libraries' from WARNING on."""
    handler = {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "filters": {"repetitions": {"()": Repetitions}},
        "handlers": {"stderr": handler, "libraries": {**handler, "filters": ["repetitions"]}},
        # A handler of its own: Faust sets the level of the root's to that of its command line.
        "loggers": {"sparkle_app": {"level": level, "handlers": ["stderr"], "propagate": False}},
        "root": {"level": "WARNING", "handlers": ["libraries"]},
    }
