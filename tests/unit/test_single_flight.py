"""Those who ask for the same at the same time share one computation."""

import asyncio
import gc
import logging

import pytest

from sparkle_app.web.single_flight import SingleFlight


class Computation:
    """Ends when the test says so; counts how often it was started and cancelled."""

    def __init__(self, error: Exception | None = None) -> None:
        self.started = self.cancelled = 0
        self.may_end = asyncio.Event()
        self._error = error

    async def __call__(self) -> int:
        self.started += 1
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self._error:
            raise self._error
        return self.started


async def test_equal_queries_are_computed_once_and_again_when_that_has_ended() -> None:
    flight: SingleFlight[int] = SingleFlight()
    computation = Computation()
    waiting = [asyncio.create_task(flight.run("a", computation)) for _ in range(8)]
    await asyncio.sleep(0)
    other = asyncio.create_task(flight.run("b", computation))
    await asyncio.sleep(0)
    computation.may_end.set()
    first = await asyncio.gather(*waiting)
    assert (len(set(first)), computation.started) == (1, 2)
    assert isinstance(await other, int)
    # The result is not kept.
    assert await flight.run("a", computation) == 3


async def test_all_who_wait_get_the_error_and_the_next_one_does_not() -> None:
    flight: SingleFlight[int] = SingleFlight()
    fails = Computation(ValueError("x"))
    fails.may_end.set()
    found = await asyncio.gather(*(flight.run("a", fails) for _ in range(3)), return_exceptions=True)
    assert fails.started == 1
    assert [type(each) for each in found] == [ValueError] * 3
    works = Computation()
    works.may_end.set()
    assert await flight.run("a", works) == 1


async def test_who_leaves_does_not_end_the_computation_of_the_others() -> None:
    flight: SingleFlight[int] = SingleFlight()
    computation = Computation()
    first, second = (asyncio.create_task(flight.run("a", computation)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    computation.may_end.set()
    assert await second == 1
    assert first.cancelled()


async def test_a_computation_ends_when_the_last_who_waits_leaves() -> None:
    flight: SingleFlight[int] = SingleFlight()
    computation = Computation()
    waiting = [asyncio.create_task(flight.run("a", computation)) for _ in range(2)]
    await asyncio.sleep(0)
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    # Who comes before it has ended does not get its cancellation.
    later = asyncio.create_task(flight.run("a", computation))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (computation.started, computation.cancelled) == (2, 1)
    computation.may_end.set()
    assert await later == 2


async def test_a_computation_that_has_to_finish_goes_on_without_anybody() -> None:
    flight: SingleFlight[int] = SingleFlight(finish=True)
    computation = Computation()
    only = asyncio.create_task(flight.run("a", computation))
    await asyncio.sleep(0)
    only.cancel()
    await asyncio.wait([only])
    later = asyncio.create_task(flight.run("a", computation))
    await asyncio.sleep(0)
    computation.may_end.set()
    assert await later == 1
    assert (computation.started, computation.cancelled) == (1, 0)


@pytest.mark.parametrize("finish", [True, False])
async def test_an_error_that_nobody_waits_for_is_not_logged_by_asyncio(
    caplog: pytest.LogCaptureFixture, finish: bool
) -> None:
    flight: SingleFlight[int] = SingleFlight(finish=finish)
    raised = 0

    async def fails() -> int:
        nonlocal raised
        try:
            await may_end.wait()
        finally:
            raised += 1
            raise ValueError

    may_end = asyncio.Event()
    only = asyncio.create_task(flight.run("a", fails))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    only.cancel()
    await asyncio.gather(only, return_exceptions=True)
    may_end.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert raised == 1
    gc.collect()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
