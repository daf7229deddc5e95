"""``faust -A sparkle_app worker`` that kills itself after a stage of a pipeline.

``CRASH_AFTER`` names the stage, ``CRASH_TIMES`` says after how many executions. The handler itself contains no code for
this.
"""

import os
import signal
from collections.abc import Callable
from typing import Any

from faust.cli.faust import cli
from faust.transport.drivers.aiokafka import Consumer

from sparkle_app.aggregate.aggregator import Aggregator
from sparkle_app.aggregate.table import BucketTable
from sparkle_app.dead_letters.publisher import DeadLetterPublisher
from sparkle_app.ingest.decryption_pool import DecryptionPool
from sparkle_app.ingest.forwarder import Forwarder
from sparkle_app.ingest.sql_writer import SqlWriter

STAGES: dict[str, tuple[type, str]] = {
    "decrypt": (DecryptionPool, "decrypt"),
    "SQL commit": (SqlWriter, "store"),
    "dead letter": (DeadLetterPublisher, "send"),
    "forward": (Forwarder, "forward"),
    "changelog write": (BucketTable, "flush"),
    "aggregate upsert": (Aggregator, "store"),
    "offset commit": (Consumer, "_commit"),
}


def crash_after(owner: type, method: str, times: int) -> None:
    """Kill this process after ``method`` has returned ``times`` times, not counting calls with nothing to do."""
    original: Callable[..., Any] = getattr(owner, method)
    count = 0

    async def replacement(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        busy = bool(args[0]) if args else bool(self._changed)
        result = await original(self, *args, **kwargs)
        if busy:
            count += 1
            if count >= times:
                os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, method, replacement)


if __name__ == "__main__":
    crash_after(*STAGES[os.environ["CRASH_AFTER"]], int(os.environ["CRASH_TIMES"]))
    cli()
