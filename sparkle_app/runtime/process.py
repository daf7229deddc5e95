"""Ending the process."""

import logging
import os
import sys
from typing import NoReturn

logger = logging.getLogger(__name__)


def exit_process(message: str, code: int = 1) -> NoReturn:
    """End the process at once with a clear line. What was not acknowledged is delivered again to another worker.

    Not through an exception: Faust would acknowledge the batch under way, or wait for it without end.
    """
    logger.critical("%s", message)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
