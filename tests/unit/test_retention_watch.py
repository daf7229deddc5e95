"""When a worker runs retention, and what it reports."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from sparkle_app.retention.steps import Action, Step
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.worker.retention_watch import RetentionWatch
from tests.support.aggregate_worker import InlineExecutor, sqlite_engine
from tests.support.fake_clock import FakeClock

NAME, INTERVAL = "Plain", 300.0


class Runs:
    """A retainer whose runs are given: numbers of deleted rows, and errors that end a run."""

    def __init__(self, *runs: Sequence[int | Exception]) -> None:
        self.runs = list(runs)
        self.times: list[int] = []
        self.closed = 0

    def run(self, now: int) -> Iterator[Step]:
        self.times.append(now)
        try:
            for each in self.runs.pop(0) if self.runs else []:
                if isinstance(each, Exception):
                    raise each
                yield Step(Action.DELETE, 0, each, now, 0.5)
        finally:
            self.closed += 1


class World:
    """A watch, whose clock advances when it sleeps; it ends after some time."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, retainer: Runs) -> None:
        self.clock = FakeClock()
        self.wall = SimpleNamespace(now=self.clock, in_doubt=False)
        self.metrics = Metrics()
        self.owned: set[int] = {0, 3}
        self.end = self.clock.now
        self.slept: list[float] = []
        self.at_sleep: Callable[[], None] = lambda: None
        self.engine = sqlite_engine(folder)
        table: Any = SimpleNamespace(owned=lambda: self.owned)
        given: Any = {NAME: retainer}
        monkeypatch.setattr("asyncio.sleep", self._sleep)
        self.watch = RetentionWatch(
            given, {NAME: table}, self.engine, InlineExecutor(), self.wall, self.metrics, INTERVAL, self.clock  # type: ignore[arg-type]
        )  # fmt: skip

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at_sleep()
        self.clock.now += seconds
        if self.clock.now >= self.end:
            raise asyncio.CancelledError

    async def run(self, seconds: float) -> None:
        self.end = self.clock.now + seconds
        with pytest.raises(asyncio.CancelledError):
            await self.watch.run()

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"sparkle_{name}", {"plugin": NAME, **labels})


async def test_the_owner_of_the_first_partition_runs_at_irregular_intervals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    retainer = Runs([5, 7], [], [0])
    world = World(tmp_path, monkeypatch, retainer)
    begin = world.clock.now
    await world.run(3.5 * INTERVAL)
    assert len(retainer.times) >= 3
    assert retainer.closed == len(retainer.times)
    waits = [each for each in world.slept if each > 1]
    assert all(INTERVAL / 2 <= each <= INTERVAL for each in waits)
    assert len(set(waits)) > 1
    assert retainer.times[0] == int((begin + waits[0]) * 1_000_000)
    # After each step, as long as it took.
    assert world.slept.count(0.5) == 3
    assert world.value("retention_rows_total", action="delete") == 12
    assert [each.getMessage() for each in caplog.records] == ["Plain: retention deleted 12 rows"]
    age = world.value("retention_age_seconds")
    assert age is not None
    assert age <= INTERVAL


async def test_other_workers_do_nothing_and_report_no_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retainer = Runs()
    world = World(tmp_path, monkeypatch, retainer)
    world.owned = {1, 2}
    await world.run(10 * INTERVAL)
    assert retainer.times == []
    age = world.value("retention_age_seconds")
    assert age is not None
    assert age <= INTERVAL


async def test_a_run_that_fails_is_reported_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    locked = OperationalError("DELETE", {}, Exception("locked"))
    retainer = Runs([1, locked], [locked], [locked], [2])
    world = World(tmp_path, monkeypatch, retainer)
    await world.run(8 * INTERVAL)
    assert world.value("retention_failures_total") == 3
    assert [each.getMessage() for each in caplog.records] == [
        "Plain: retention deleted 1 row",
        "Plain: retention failed, will retry: database: locked",
        "Plain: retention deleted 2 rows",
        "Plain: retention succeeded again",
    ]


async def test_the_age_grows_while_runs_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    retainer = Runs(*([OSError("full")] for _ in range(100)))
    world = World(tmp_path, monkeypatch, retainer)
    await world.run(10 * INTERVAL)
    assert world.value("retention_age_seconds") == pytest.approx(10 * INTERVAL, rel=0.2)


async def test_a_worker_that_loses_the_partition_stops_and_does_not_claim_to_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retainer = Runs([1, 1, 1, 1])
    world = World(tmp_path, monkeypatch, retainer)

    def lose() -> None:
        if world.slept[-1] == 0.5:
            world.owned = set()

    world.at_sleep = lose
    await world.run(1.2 * INTERVAL)
    assert world.value("retention_rows_total", action="delete") == 2
    assert retainer.closed == 1


async def test_nothing_is_deleted_while_the_clock_is_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retainer = Runs()
    world = World(tmp_path, monkeypatch, retainer)
    world.wall.in_doubt = True
    await world.run(3 * INTERVAL)
    assert retainer.times == []


async def test_a_worker_that_stops_does_not_wait_for_retention(tmp_path: Path) -> None:
    began, end = threading.Event(), threading.Event()

    class Slow(Runs):
        def run(self, now: int) -> Iterator[Step]:
            began.set()
            end.wait()
            yield Step(Action.DELETE, 0, 1, now, 0.0)

    metrics = Metrics()
    table: Any = SimpleNamespace(owned=lambda: {0})
    wall: Any = SimpleNamespace(now=FakeClock(), in_doubt=False)
    given: Any = {NAME: Slow()}
    with ThreadPoolExecutor(1) as writers:
        watch = RetentionWatch(given, {NAME: table}, sqlite_engine(tmp_path), writers, wall, metrics, 0.01)
        running = asyncio.create_task(watch.run())
        await asyncio.to_thread(began.wait)
        running.cancel()
        try:
            with pytest.raises(asyncio.CancelledError):
                await running
        finally:
            end.set()
    assert metrics.registry.get_sample_value("sparkle_retention_failures_total", {"plugin": NAME}) in (
        None,
        0,
    )
