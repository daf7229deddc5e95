"""The end of the process, as an exception."""

from types import ModuleType
from typing import NoReturn

import pytest


class ProcessExited(BaseException):
    """The process would have ended. No Exception: nothing may go on after it."""


def raise_instead_of_exit(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
    """``exit_process`` of these modules raises :class:`ProcessExited`."""

    def exit_process(message: str, code: int = 1) -> NoReturn:
        raise ProcessExited(message)

    for module in modules:
        monkeypatch.setattr(module, "exit_process", exit_process)
