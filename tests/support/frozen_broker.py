"""``faust -A sparkle_app COMMAND`` whose broker, process BROKER_PID, hangs from the first dead letter it reads."""

import os
import signal
from typing import Any

from faust.cli.faust import cli

from sparkle_app.dead_letters import reader
from sparkle_app.dead_letters.message import parse_dead_letter


def freeze(*args: Any) -> Any:
    """Stop the broker, and parse the dead letter."""
    os.kill(int(os.environ["BROKER_PID"]), signal.SIGSTOP)
    return parse_dead_letter(*args)


if __name__ == "__main__":
    reader.parse_dead_letter = freeze  # type: ignore[attr-defined, assignment]
    reader._STALLED_SECONDS = 3.0
    cli()
