"""Tests with workers fail if a worker has logged a defect or exited, even if all that they assert is true."""

import os
from pathlib import Path

import pytest

from tests.support.worker import Worker

STAMP = "2026-11-23 12:00:00.000+00:00"
DEFECT = (
    f"{STAMP} ERROR agent: unexpected error; please report it\n"
    "  Traceback (most recent call last):\n"
    "  KeyError: 1\n"
)


def ended(folder: Path, output: str, code: int = 0) -> Worker:
    """A worker that has logged something and exited."""
    (folder / "output").write_text(f"{STAMP} INFO worker: starting\n{output}{STAMP} INFO worker: ready\n")
    command = ["sh", "-c", f"cat output; exit {code}"]
    worker = Worker(os.environ, folder / "worker.log", command=command, folder=folder)
    worker.start()
    worker.process.wait(20)
    return worker


def test_a_worker_without_faults_can_be_closed(tmp_path: Path) -> None:
    ended(tmp_path, f"{STAMP} ERROR retry: the database is unreachable\n").close()


@pytest.mark.parametrize(
    ("output", "code", "fault"),
    [
        (DEFECT, 0, DEFECT),
        (f"{STAMP} ERROR asyncio: Task exception was never retrieved\n", 0, "never retrieved"),
        (f"{STAMP} ERROR asyncio: Unclosed client session\n", 0, "Unclosed client session"),
        ("Traceback (most recent call last):\n  File\nKeyError: 1\n", 0, "KeyError: 1"),
        ("", 1, "exit code 1"),
        ("", 3, "exit code 3"),
    ],
)
def test_a_fault_of_a_worker_is_reported_when_it_is_closed(
    tmp_path: Path, output: str, code: int, fault: str
) -> None:
    worker = ended(tmp_path, output, code)
    with pytest.raises(AssertionError) as raised:
        worker.close()
    assert fault in str(raised.value)
    assert "INFO worker: ready" not in str(raised.value)


def test_a_fault_that_the_test_provokes_is_not_reported(tmp_path: Path) -> None:
    worker = ended(tmp_path, DEFECT, 1)
    worker.expected = ["KeyError: 1"]
    with pytest.raises(AssertionError, match="exit code 1"):
        worker.close()
    assert DEFECT in worker.wait_failure()
    worker.close()
