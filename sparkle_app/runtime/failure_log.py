"""Logs the cause of a failure that is retried: once, until it changes."""

import logging


class FailureLog:
    """The last failure of something that is done again and again.

    Arguments:
        message: what failed, and that it is retried.
    """

    def __init__(self, logger: logging.Logger, message: str) -> None:
        self._logger = logger
        self._message = message
        self._cause = ""

    def failed(self, cause: object) -> None:
        """Log the cause, unless the last attempt failed because of the same."""
        if str(cause) != self._cause:
            self._cause = str(cause)
            self._logger.warning("%s: %s", self._message, cause)

    def succeeded(self) -> bool:
        """Whether the last attempt failed."""
        before, self._cause = self._cause, ""
        return bool(before)
