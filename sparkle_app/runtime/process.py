"""Exit of the process."""

import logging
import os
import sys
from typing import NoReturn

logger = logging.getLogger(__name__)


def exit_process(message: str) -> NoReturn:
    """Log one line and exit at once, with code 1. Records that were not acknowledged are redelivered.

    Raising an exception is not enough: Faust would acknowledge the current batch, or wait for it indefinitely.
    """
    try:
        logger.critical("%s", message)
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # Even if the log or a stream fails, or there is none.
        os._exit(1)
