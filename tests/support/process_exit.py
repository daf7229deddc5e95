"""Turns the exit of the process into an exception."""

from types import ModuleType
from typing import NoReturn

import pytest


class ProcessExited(BaseException):
    """The process would have exited. It is not an Exception, so that no code catches it and continues."""


def raise_instead_of_exit(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
    """Make ``exit_process`` of these modules raise :class:`ProcessExited`."""

    def exit_process(message: str) -> NoReturn:
        raise ProcessExited(message)

    for module in modules:
        monkeypatch.setattr(module, "exit_process", exit_process)
