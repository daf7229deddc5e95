"""Retry with backoff."""

import asyncio
import logging
import time

import pytest

from sparkle_app.model.errors import ConfigurationError, TransientError
from sparkle_app.runtime.metrics import Metrics, Stage
from sparkle_app.runtime.retry import FIRST_WAIT, MAX_WAIT, retry
from tests.support.virtual_time import VirtualClock, run


class Flaky:
    """Fails ``failures`` times, then succeeds; keeps the time of each attempt."""

    def __init__(self, failures: int, clock: VirtualClock) -> None:
        self.at: list[float] = []
        self._failures = failures
        self._clock = clock

    async def attempt(self) -> str:
        self.at.append(self._clock.now)
        if len(self.at) <= self._failures:
            raise TransientError(f"database: failure {len(self.at)}")
        return "done"


def retries(metrics: Metrics, stage: Stage) -> float | None:
    return metrics.registry.get_sample_value("sparkle_retries_total", {"stage": stage})


def test_success_is_returned_at_once() -> None:
    clock, metrics = VirtualClock(), Metrics()
    flaky = Flaky(0, clock)
    assert run(retry(Stage.STORE, metrics, flaky.attempt), clock) == "done"
    assert flaky.at == [0.0]
    assert retries(metrics, Stage.STORE) == 0


def test_waits_double_up_to_a_maximum_and_vary_by_a_fifth() -> None:
    clock, metrics = VirtualClock(), Metrics()
    flaky = Flaky(40, clock)
    assert run(retry(Stage.SINK, metrics, flaky.attempt), clock) == "done"
    waits = [after - before for before, after in zip(flaky.at, flaky.at[1:], strict=False)]
    bases = [min(FIRST_WAIT * 2**number, MAX_WAIT) for number in range(40)]
    ratios = [wait / base for wait, base in zip(waits, bases, strict=True)]
    assert all(0.799 <= ratio <= 1.201 for ratio in ratios), ratios
    # Workers that fail together must not come back together.
    assert len({round(ratio, 6) for ratio in ratios}) > 30
    assert retries(metrics, Stage.SINK) == 40
    assert retries(metrics, Stage.STORE) == 0


def test_each_failure_is_logged_with_its_stage_and_cause(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    with caplog.at_level(logging.WARNING, "sparkle_app.runtime.retry"):
        run(retry(Stage.FORWARD, Metrics(), Flaky(2, clock).attempt), clock)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    for number, record in enumerate(caplog.records, 1):
        assert "forward" in record.getMessage()
        assert f"database: failure {number}" in record.getMessage()


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a defect"),
        ConfigurationError("here", expected="this", found="that", hint="change it"),
        KeyboardInterrupt(),
    ],
)
def test_any_other_error_is_raised_at_the_first_attempt(error: BaseException) -> None:
    clock, metrics = VirtualClock(), Metrics()
    calls = 0

    async def attempt() -> None:
        nonlocal calls
        calls += 1
        raise error

    with pytest.raises(type(error)):
        run(retry(Stage.STORE, metrics, attempt), clock)
    assert (calls, clock.now) == (1, 0.0)
    assert retries(metrics, Stage.STORE) == 0


def test_a_cancelled_retry_ends_between_two_attempts() -> None:
    clock = VirtualClock()
    flaky = Flaky(1_000_000, clock)

    async def main() -> None:
        async with asyncio.timeout(60):
            await retry(Stage.STORE, Metrics(), flaky.attempt)

    with pytest.raises(TimeoutError):
        run(main(), clock)
    assert clock.now == pytest.approx(60)
    assert 10 < len(flaky.at) < 30


def test_virtual_time_is_not_waited_for() -> None:
    began = time.monotonic()
    clock = VirtualClock()
    run(asyncio.sleep(86_400), clock)
    assert clock.now == pytest.approx(86_400)
    assert time.monotonic() - began < 1
