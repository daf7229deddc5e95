"""What a process of the handler logs only if it has a defect."""

import re
from collections.abc import Iterable
from pathlib import Path

_DEFECT = re.compile(
    r"unexpected error|Traceback \(|never retrieved|never awaited|was destroyed|(: |^)Unclosed |Fatal Python error",
    re.M,
)
_NEW_MESSAGE = re.compile(r"^(?=\d{4}-\d\d-\d\d )", re.M)
"""Other lines belong to the message before them."""


def faults_of(log: Path, expected: Iterable[str] = ()) -> list[str]:
    """The messages of a log that show a defect.

    Arguments:
        expected: patterns of messages that the test provokes.
    """
    text = log.read_text("utf-8", "replace") if log.exists() else ""
    messages = (each for each in _NEW_MESSAGE.split(text) if _DEFECT.search(each))
    return unexpected(messages, expected)


def unexpected(faults: Iterable[str], expected: Iterable[str]) -> list[str]:
    """Those that no pattern matches."""
    patterns = list(expected)
    return [each for each in faults if not any(re.search(which, each) for which in patterns)]
