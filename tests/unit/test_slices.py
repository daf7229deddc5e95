"""Long computations leave the event loop to others, in turns."""

import asyncio
import random

import pytest

from sparkle_app.web import slices
from sparkle_app.web.slices import Slices


@pytest.fixture
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice is over at each pause."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)


@pytest.mark.usefixtures("short_slices")
@pytest.mark.parametrize("number", [1, 2, 3, 9])
async def test_one_slice_runs_in_an_iteration_of_the_loop(number: int) -> None:
    shared, iteration, running = Slices(), 0, number
    slices_run: list[tuple[int, int]] = []

    async def compute(name: int) -> None:
        nonlocal running
        async with shared.computation() as computation:
            for _ in range(20):
                slices_run.append((iteration, name))
                await computation.pause()
        running -= 1

    async with asyncio.TaskGroup() as group:
        for name in range(number):
            group.create_task(compute(name))
        while running:
            iteration += 1
            await asyncio.sleep(0)
    assert len(slices_run) == 20 * number
    by_iteration = [at for at, _ in slices_run]
    assert len(set(by_iteration)) == len(by_iteration)
    # Each has its turn before one has the next.
    firsts = {name for _, name in slices_run[:number]}
    assert len(firsts) == number


async def test_a_slice_that_is_not_over_goes_on() -> None:
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    async with Slices().computation() as computation:
        before = others
        await computation.pause()
        assert others == before
    task.cancel()


@pytest.mark.usefixtures("short_slices")
async def test_a_cancelled_or_failed_computation_leaves_its_turn_to_the_next() -> None:
    shared = Slices()

    async def compute(fails: bool) -> str:
        async with shared.computation() as computation:
            for _ in range(5):
                await computation.pause()
            if fails:
                raise ValueError
        return "done"

    tasks = [asyncio.create_task(compute(number == 1)) for number in range(6)]
    for cancelled in (0, 3, 4):
        await asyncio.sleep(0)
        tasks[cancelled].cancel()
    async with asyncio.timeout(5):
        found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [found[number] for number in (2, 5)] == ["done"] * 2
    assert isinstance(found[1], ValueError)
    assert all(isinstance(found[number], asyncio.CancelledError) for number in (0, 3, 4))
    assert await compute(fails=False) == "done"


@pytest.mark.usefixtures("short_slices")
@pytest.mark.parametrize("count", [0, 1, 7, 50])
async def test_names_are_sorted_in_parts(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(slices, "_SORTED_AT_ONCE", 7)
    names = [f"host-{number}" for number in range(count)]
    random.Random(count).shuffle(names)
    async with Slices().computation() as computation:
        assert [name async for name in computation.sorted(names)] == sorted(names)
