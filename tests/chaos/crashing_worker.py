"""``faust -A sparkle_app worker`` that kills itself at one point of a message's way.

``CRASH_AFTER`` names the point, ``CRASH_TIMES`` how often it has to be passed. Nothing in the handler knows of it.
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

POINTS: dict[str, tuple[type, str]] = {
    "decrypt": (DecryptionPool, "decrypt"),
    "SQL commit": (SqlWriter, "store"),
    "dead letter": (DeadLetterPublisher, "send"),
    "forward": (Forwarder, "forward"),
    "changelog write": (BucketTable, "flush"),
    "aggregate upsert": (Aggregator, "store"),
    "offset commit": (Consumer, "_commit"),
}


def crash_after(owner: type, method: str, times: int) -> None:
    """Kill this process once ``method`` has returned ``times`` times with something to do."""
    original: Callable[..., Any] = getattr(owner, method)
    passed = 0

    async def instead(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal passed
        busy = bool(args[0]) if args else bool(self._changed)
        result = await original(self, *args, **kwargs)
        if busy:
            passed += 1
            if passed >= times:
                os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, method, instead)


if __name__ == "__main__":
    crash_after(*POINTS[os.environ["CRASH_AFTER"]], int(os.environ["CRASH_TIMES"]))
    cli()
