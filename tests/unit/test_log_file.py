"""The log file of a worker that cannot be written to for a time, such as after a failed rotation."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparkle_app.runtime.logging import LogFile
from tests.support.permissions import obeyed_modes
from tests.support.worker import PROJECT

_WORKER = """
import logging.config, os, sys
from mode.utils.logging import FileLogProxy
from sparkle_app.runtime.logging import logging_config
from sparkle_app.runtime.process import exit_process
file = sys.argv[1]
# As Faust's worker does.
sys.stdout = sys.stderr = FileLogProxy(logging.getLogger("mode.redirect"))
logging.config.dictConfig(logging_config("INFO", file=file))
logging.getLogger("sparkle_app").info("started")
os.unlink(file)
os.rmdir(os.path.dirname(file))
if len(sys.argv) > 2:
    sys.stdout = sys.stderr = sys.__stderr__ = None
try:
    exit_process("a reason")
except OSError:
    # As code that talks to the broker does.
    pass
"""


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("sparkle_app", logging.INFO, "", 0, message, None, None)


def test_messages_go_to_standard_error_until_the_file_can_be_written_to_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "__stderr__", os.fdopen(os.dup(2), "w"))
    folder = tmp_path / "log"
    folder.mkdir()
    file = folder / "worker.log"
    handler = LogFile(file, encoding="utf-8")
    handler.emit(record("one"))
    for again in ("", " again"):
        # As after a rotation, in a folder whose owner is another user.
        file.rename(folder / f"worker.log{again}.1")
        folder.chmod(0o500)
        with obeyed_modes():
            handler.emit(record(f"two{again}"))
            handler.emit(record(f"three{again}"))
        assert capfd.readouterr().err.splitlines() == [
            f"{file} cannot be written to: Permission denied; messages go to standard error",
            f"two{again}",
            f"three{again}",
        ]
        folder.chmod(0o700)
        handler.emit(record(f"four{again}"))
        assert file.read_text() == f"four{again}\n"
    assert capfd.readouterr().err == ""
    assert (folder / "worker.log.1").read_text() == "one\n"
    handler.close()


def test_a_full_disk_is_told_once(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stderr__", os.fdopen(os.dup(2), "w"))
    handler = LogFile("/dev/full", encoding="utf-8")
    handler.emit(record("one"))
    handler.emit(record("two"))
    assert capfd.readouterr().err.splitlines() == [
        "/dev/full cannot be written to: No space left on device; messages go to standard error",
        "one",
        "two",
    ]


@pytest.mark.parametrize("streams", [[], ["none"]])
def test_a_worker_exits_even_if_the_folder_of_its_log_is_gone(tmp_path: Path, streams: list[str]) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    program = [sys.executable, "-c", _WORKER, str(folder / "worker.log"), *streams]
    done = subprocess.run(program, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    lines = [line.partition(" sparkle_app")[2] for line in done.stderr.splitlines()]
    assert lines == (
        []
        if streams
        else [
            f".runtime.logging: {folder}/worker.log cannot be written to: No such file or directory;"
            " messages go to standard error",
            ".runtime.process: a reason",
        ]
    )
