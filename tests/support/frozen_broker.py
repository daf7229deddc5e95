"""``faust -A sparkle_app COMMAND`` whose broker, process BROKER_PID, hangs from the first dead letter it reads."""

import os
import signal
from typing import Any

from faust.cli.faust import cli

from sparkle_app.dead_letters import reader
from sparkle_app.dead_letters.message import parse_dead_letter

FETCHED_BYTES = 200
"""Less than a batch, so one is fetched at a time, and another one only when it is consumed."""


def freeze(*args: Any) -> Any:
    """Stop the broker, and parse the dead letter."""
    os.kill(int(os.environ["BROKER_PID"]), signal.SIGSTOP)
    return parse_dead_letter(*args)


if __name__ == "__main__":
    reader.parse_dead_letter = freeze  # type: ignore[attr-defined, assignment]
    reader._STALLED_SECONDS = 3.0
    reader.MAX_MESSAGE_BYTES = FETCHED_BYTES  # type: ignore[attr-defined]
    cli()
