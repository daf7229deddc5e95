"""What a starting worker does while the database or the broker is not there."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from sparkle_app.model.errors import ConfigurationError, TransientError
from sparkle_app.worker import startup
from tests.support.virtual_time import VirtualClock, run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    # Not 0: the first line of the log must not depend on how long the machine has been up.
    clock = VirtualClock(1000.0)
    monkeypatch.setattr(startup, "time", clock)
    return clock


def wait(clock: VirtualClock, seconds: float, attempt: Callable[[], Awaitable[str]]) -> str:
    return run(startup.wait_for("the database at db:5432", "database.url", seconds, attempt), clock)


def test_what_is_there_is_not_waited_for(clock: VirtualClock) -> None:
    async def attempt() -> str:
        return "there"

    assert wait(clock, 60, attempt) == "there"
    assert clock.now == 1000


def test_a_service_that_comes_up_in_time_is_used(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def attempt() -> str:
        if clock.now < 1020:
            raise TransientError("connection refused")
        return "there"

    with caplog.at_level(logging.WARNING, "sparkle_app.worker.startup"):
        assert wait(clock, 60, attempt) == "there"
    assert 1020 <= clock.now < 1021
    # A line every few seconds, not one for each attempt.
    lines = [record.getMessage() for record in caplog.records]
    assert 6 <= len(lines) <= 7, lines
    assert all("the database at db:5432" in line and "connection refused" in line for line in lines)


def test_a_service_that_stays_away_is_a_configuration_error(clock: VirtualClock) -> None:
    async def attempt() -> str:
        raise TransientError("connection refused")

    with pytest.raises(ConfigurationError) as caught:
        wait(clock, 60, attempt)
    fault = caught.value
    assert fault.where == "database.url"
    assert "the database at db:5432" in fault.expected
    assert "60 s" in fault.expected
    assert fault.found == "connection refused"
    assert isinstance(fault.__cause__, TransientError)
    assert 1060 <= clock.now <= 1061


def test_an_attempt_that_hangs_is_given_up_at_the_deadline(clock: VirtualClock) -> None:
    async def attempt() -> str:
        await asyncio.sleep(86_400)
        return "too late"

    with pytest.raises(ConfigurationError) as caught:
        wait(clock, 60, attempt)
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert clock.now == pytest.approx(1060, abs=1)


def test_an_attempt_gets_a_few_seconds_even_if_less_is_left(clock: VirtualClock) -> None:
    async def attempt() -> str:
        await asyncio.sleep(2.5)
        return "slow, but there"

    assert wait(clock, 0.5, attempt) == "slow, but there"
    assert clock.now == pytest.approx(1002.5)


def test_an_unexpected_error_is_raised_at_once(clock: VirtualClock) -> None:
    async def attempt() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        wait(clock, 60, attempt)
    assert clock.now == 1000
