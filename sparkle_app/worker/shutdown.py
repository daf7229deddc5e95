"""How a worker ends."""

import logging
import os
import threading
import time
from collections.abc import Callable

GRACE_SECONDS = 12

logger = logging.getLogger(__name__)


def exit_within_grace_period(crashed: Callable[[], bool]) -> None:
    """End the process in bounded time, even if a thread hangs in the database; with 1 where it ``crashed``."""

    def watch() -> None:
        time.sleep(GRACE_SECONDS)
        logger.warning(
            "still not stopped after %d s: leaving; what was not acknowledged will be delivered again",
            GRACE_SECONDS,
        )
        os._exit(1 if crashed() else 0)

    threading.Thread(target=watch, name="leave-soon", daemon=True).start()
