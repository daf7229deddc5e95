"""A problem of a collecting half is logged once while it lasts, and never more than once an hour."""

from types import ModuleType

import pytest


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds_between", "times", "lines"),
    [(300, 50, 1), (1, 5000, 1), (3599, 5, 1), (3600, 5, 5)],
)
def test_a_problem_is_logged_again_only_after_an_hour_without_it(
    temperature: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    seconds_between: int,
    times: int,
    lines: int,
) -> None:
    clock = Clock()
    monkeypatch.setattr("plugins.temperature.collecting.time", clock)
    for _ in range(times):
        temperature.problems.report("a disk", "is hot")
        clock.now += seconds_between
    assert caplog.messages == ["Temperature: a disk: is hot"] * lines


def test_problems_of_many_sensors_are_not_kept_for_ever(
    temperature: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    monkeypatch.setattr("plugins.temperature.collecting.time", clock)
    for number in range(3000):
        temperature.problems.report(f"sensor {number}", "is hot")
        clock.now += 10
    assert len(caplog.messages) == 3000
    assert len(temperature.problems._last) <= 1001
