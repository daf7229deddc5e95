"""Retry with backoff."""

import asyncio
import logging
import re
import time

import pytest

from sparkle_app.model.errors import ConfigurationError, TransientError
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.runtime.retry import FIRST_WAIT, MAX_WAIT, retry
from sparkle_app.runtime.stages import Stage
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


class Away:
    """Fails until a time, with one cause."""

    def __init__(self, clock: VirtualClock, until: float) -> None:
        self._clock = clock
        self._until = until

    async def attempt(self) -> None:
        if self._clock.now < self._until:
            raise TransientError("database: connection refused")


def test_an_outage_is_logged_when_it_begins_every_minute_and_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = VirtualClock()
    metrics = Metrics(clock.monotonic)
    with caplog.at_level(logging.WARNING, "sparkle_app.runtime.retry"):
        run(retry(Stage.STORE, metrics, Away(clock, 150).attempt), clock)
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "stage store: failed, retrying: database: connection refused"
    assert [re.sub(r"6[0-9]|12[0-9]|15[0-9]\.[0-9]", "N", line) for line in lines[1:]] == [
        "stage store: still failing after N s, retrying: database: connection refused",
        "stage store: still failing after N s, retrying: database: connection refused",
        "stage store: succeeded after N s",
    ]


def test_every_new_cause_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    with caplog.at_level(logging.WARNING, "sparkle_app.runtime.retry"):
        run(retry(Stage.FORWARD, Metrics(clock.monotonic), Flaky(2, clock).attempt), clock)
    first, second, last = (record.getMessage() for record in caplog.records)
    assert first.endswith("database: failure 1")
    assert second.endswith("database: failure 2")
    assert last.startswith("stage forward: succeeded after 0.")


def test_without_a_failure_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    with caplog.at_level(logging.DEBUG, "sparkle_app.runtime.retry"):
        run(retry(Stage.FORWARD, Metrics(clock.monotonic), Flaky(0, clock).attempt), clock)
    assert not caplog.records


async def test_a_stage_that_takes_long_says_why() -> None:
    now = 0.0
    metrics = Metrics(lambda: now)
    gate = asyncio.Event()

    async def attempt() -> None:
        if not gate.is_set():
            raise TransientError("database: disk full")

    async def hangs() -> None:
        await gate.wait()

    tasks = [
        asyncio.create_task(retry(stage, metrics, action))
        for stage, action in ((Stage.STORE, attempt), (Stage.STORE, hangs), (Stage.FORWARD, hangs))
    ]
    await asyncio.sleep(0)
    assert metrics.stages.delayed(10) == ""
    now = 11.0
    assert metrics.stages.delayed(10) == (
        "stage store in progress for 11 s: database: disk full;"
        " stage forward in progress for 11 s: no response yet"
    )
    gate.set()
    await asyncio.gather(*tasks)
    assert metrics.stages.delayed(-1) == ""


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
