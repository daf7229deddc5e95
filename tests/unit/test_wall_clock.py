"""Steps of the system's clock are noticed, and followed only once they have lasted."""

import asyncio
import logging
import time
from collections.abc import Iterator

import pytest

from sparkle_app.kafka.membership import Membership
from sparkle_app.runtime.clock import STEADY_SECONDS, WallClock
from sparkle_app.worker.clock_watchdog import watch_clock
from tests.support.fake_clock import FakeClock
from tests.support.virtual_time import VirtualClock, run

NOW = 1_700_000_000.0
HOURS = 7200.0


class Machine:
    """A system's clock, and the monotonic one."""

    def __init__(self) -> None:
        self.wall = FakeClock(NOW)
        self.elapsed = FakeClock(500.0)
        self.clock = WallClock(self.wall, self.elapsed)

    def pass_time(self, seconds: float) -> None:
        self.wall.now += seconds
        self.elapsed.now += seconds


def in_doubt(clock: WallClock) -> bool:
    return clock.in_doubt


@pytest.fixture
def machine(caplog: pytest.LogCaptureFixture) -> Iterator[Machine]:
    with caplog.at_level(logging.WARNING):
        yield Machine()


def test_the_clock_follows_the_time_and_its_small_corrections(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    for correction in (0.0, 1.0, -9.0, 9.0, 9.0):
        machine.pass_time(3600)
        machine.wall.now += correction
        assert machine.clock.now() == machine.wall.now
        assert not in_doubt(machine.clock)
    assert caplog.messages == []


@pytest.mark.parametrize("step", [HOURS, -HOURS, 11.0])
def test_a_step_that_is_undone_is_not_followed(
    machine: Machine, caplog: pytest.LogCaptureFixture, step: float
) -> None:
    machine.wall.now += step
    for second in range(5):
        assert in_doubt(machine.clock)
        assert machine.clock.now() == NOW + second
        assert machine.clock.believe() is None
        machine.pass_time(1)
    machine.wall.now -= step
    assert not in_doubt(machine.clock)
    assert machine.clock.now() == NOW + 5
    first, second_line = caplog.messages
    assert f"jumped by {step:+.0f} s" in first
    assert second_line == "the system clock was corrected after 5 s"


@pytest.mark.parametrize("step", [HOURS, -HOURS])
def test_a_step_that_lasts_is_followed(
    machine: Machine, caplog: pytest.LogCaptureFixture, step: float
) -> None:
    machine.wall.now += step
    assert in_doubt(machine.clock)
    machine.pass_time(STEADY_SECONDS - 1)
    assert machine.clock.believe() is None
    machine.pass_time(1)
    assert in_doubt(machine.clock)
    assert machine.clock.believe() == pytest.approx(step)
    assert not in_doubt(machine.clock)
    assert machine.clock.now() == NOW + step + STEADY_SECONDS
    assert machine.clock.believe() is None
    assert len(caplog.messages) == 2


def test_a_clock_that_steps_again_and_again_is_not_believed(machine: Machine) -> None:
    for _ in range(20):
        machine.wall.now += HOURS
        machine.pass_time(STEADY_SECONDS / 2)
        assert machine.clock.believe() is None
    assert machine.clock.now() == NOW + 10 * STEADY_SECONDS


def test_a_process_that_was_suspended_between_two_readings_sees_no_step(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    suspended = [20.0]

    def elapsed() -> float:
        # The suspension ends between the readings of the system's clock and of this one.
        return machine.elapsed()

    def wall() -> float:
        found = machine.wall()
        machine.pass_time(suspended.pop() if suspended else 0)
        return found

    clock = WallClock(wall, elapsed)
    suspended.append(20.0)
    assert clock.now() == machine.wall.now
    assert not in_doubt(clock)
    assert caplog.messages == []


def test_the_time_of_a_suspended_machine_is_no_step() -> None:
    clock = WallClock()
    assert not in_doubt(clock)
    assert clock.believe() is None


@pytest.mark.parametrize(("step", "rejoins"), [(HOURS, 0), (-HOURS, 1)])
def test_after_a_step_backwards_the_tables_are_restored(step: float, rejoins: int) -> None:
    virtual = VirtualClock()
    shift = 0.0

    class Group(Membership):
        def __init__(self) -> None:
            self.rejoined: list[float] = []

        async def rejoin(self) -> None:
            self.rejoined.append(virtual.now)

    group = Group()
    clock = WallClock(lambda: NOW + virtual.now + shift, virtual.monotonic)

    async def scenario() -> None:
        nonlocal shift
        watching = asyncio.create_task(watch_clock(clock, group))
        await asyncio.sleep(10)
        shift = step
        await asyncio.sleep(STEADY_SECONDS - 2)
        assert group.rejoined == []
        assert in_doubt(clock)
        await asyncio.sleep(5)
        assert not in_doubt(clock)
        watching.cancel()

    run(scenario(), virtual)
    assert len(group.rejoined) == rejoins


def test_a_system_without_clock_boottime_has_a_clock_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    assert abs(WallClock().now() - time.time()) < 5
