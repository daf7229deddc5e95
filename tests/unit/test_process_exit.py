"""The two ways out of the process: at once with a line, and within the grace period."""

import io
import logging
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sparkle_app.runtime import process
from sparkle_app.worker import shutdown
from tests.support.worker import PROJECT


class Exited(BaseException):
    """Stands for the end of the process."""


class Buffered(io.StringIO):
    """A stream that tells when it is flushed."""

    def __init__(self, name: str, steps: list[Any]) -> None:
        super().__init__()
        self._name, self._steps = name, steps

    def flush(self) -> None:
        self._steps.append(self._name)


def test_a_process_ends_with_a_line_and_loses_no_output(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    steps: list[Any] = []

    def end(code: int) -> None:
        steps.append(code)
        raise Exited

    monkeypatch.setattr(process, "os", SimpleNamespace(_exit=end))
    monkeypatch.setattr(process, "logging", SimpleNamespace(shutdown=lambda: steps.append("log")))
    streams = SimpleNamespace(stdout=Buffered("stdout", steps), stderr=Buffered("stderr", steps))
    monkeypatch.setattr(process, "sys", streams)
    with caplog.at_level(logging.CRITICAL, "sparkle_app.runtime.process"), pytest.raises(Exited):
        process.exit_process("certs: expected keys, found 100%; make one")
    # The percent sign is text, not a format.
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("CRITICAL", "certs: expected keys, found 100%; make one")
    ]
    assert steps == ["log", "stdout", "stderr", 1]


def test_a_process_ends_even_if_the_line_cannot_be_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(code: int) -> None:
        raise Exited(code)

    def critical(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(process, "os", SimpleNamespace(_exit=end))
    monkeypatch.setattr(process, "logger", SimpleNamespace(critical=critical))
    with pytest.raises(Exited, match="1"):
        process.exit_process("certs: expected keys, found none")


class Grace:
    """The grace period and the end of the process, in the hands of the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.over = threading.Event()
        self.ended = threading.Event()
        self.codes: list[int] = []
        self.asked: list[float] = []
        monkeypatch.setattr(shutdown, "time", SimpleNamespace(sleep=self._sleep))
        monkeypatch.setattr(shutdown, "os", SimpleNamespace(_exit=self._exit))

    def _sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        assert self.over.wait(10)

    def _exit(self, code: int) -> None:
        self.codes.append(code)
        self.ended.set()


@pytest.mark.parametrize(("crashed", "code"), [(False, 0), (True, 1)])
def test_a_worker_that_cannot_stop_exits_after_the_grace_period(
    monkeypatch: pytest.MonkeyPatch, crashed: bool, code: int
) -> None:
    grace = Grace(monkeypatch)
    before = set(threading.enumerate())
    shutdown.start_shutdown_timeout(lambda: crashed)
    (watcher,) = set(threading.enumerate()) - before
    # It must not keep a process alive that has stopped in time.
    assert watcher.daemon
    assert not grace.ended.wait(0.05)
    grace.over.set()
    assert grace.ended.wait(10)
    watcher.join(10)
    assert (grace.codes, grace.asked) == ([code], [shutdown.SHUTDOWN_SECONDS])


def test_a_crash_during_the_grace_period_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    grace = Grace(monkeypatch)
    crashed = False
    crash: Callable[[], bool] = lambda: crashed  # noqa: E731
    shutdown.start_shutdown_timeout(crash)
    crashed = True
    grace.over.set()
    assert grace.ended.wait(10)
    assert grace.codes == [1]


def test_the_grace_period_ends_before_compose_kills_the_worker() -> None:
    compose = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())
    allowed = float(compose["services"]["worker"]["stop_grace_period"].removesuffix("s"))
    assert 0 < shutdown.SHUTDOWN_SECONDS < allowed
