"""The shutdown timeout of a worker."""

import logging
import os
import threading
import time
from collections.abc import Callable

SHUTDOWN_SECONDS = 12

logger = logging.getLogger(__name__)


def start_shutdown_timeout(crashed: Callable[[], bool]) -> None:
    """Exit after SHUTDOWN_SECONDS, whatever other threads wait for; with exit code 1 if the worker has ``crashed``."""

    def exit_late() -> None:
        time.sleep(SHUTDOWN_SECONDS)
        logger.warning(
            "not stopped after %d s: exiting; records that were not acknowledged will be redelivered",
            SHUTDOWN_SECONDS,
        )
        os._exit(1 if crashed() else 0)

    threading.Thread(target=exit_late, name="shutdown-timeout", daemon=True).start()
