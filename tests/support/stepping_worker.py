"""``faust -A sparkle_app worker`` whose clock is off by the seconds in the file ``CLOCK_OFFSET``, if it exists.

``STEADY_SECONDS``, if set, replaces how long a step must last until it is believed.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

from aiokafka.producer.message_accumulator import BatchBuilder
from faust.cli.faust import cli

from sparkle_app.runtime import clock

_time, _append = time.time, BatchBuilder.append


def _shifted() -> float:
    try:
        return _time() + float(Path(os.environ["CLOCK_OFFSET"]).read_text() or 0)
    except FileNotFoundError:
        return _time()


def _append_with_timestamp(self: BatchBuilder, *, timestamp: int | None, **fields: Any) -> Any:
    # The client reads the system's clock in C.
    return _append(self, timestamp=int(_shifted() * 1000) if timestamp is None else timestamp, **fields)


def command() -> list[str]:
    """The command line of such a worker."""
    return [sys.executable, "-m", "tests.support.stepping_worker", "-A", "sparkle_app", "worker"]


if __name__ == "__main__":
    time.time = _shifted
    BatchBuilder.append = _append_with_timestamp
    clock.STEADY_SECONDS = float(os.environ.get("STEADY_SECONDS", clock.STEADY_SECONDS))
    cli()
