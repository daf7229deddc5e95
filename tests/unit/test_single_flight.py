"""Those who ask for the same at the same time share one computation."""

import asyncio
import gc
import logging

import pytest

from sparkle_app.web.single_flight import SingleFlight


class Computation:
    """Ends when the test says so; counts how often it was started."""

    def __init__(self, error: Exception | None = None) -> None:
        self.started = 0
        self.may_end = asyncio.Event()
        self._error = error

    async def __call__(self) -> int:
        self.started += 1
        await self.may_end.wait()
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


async def test_an_error_that_nobody_waits_for_is_not_logged_by_asyncio(
    caplog: pytest.LogCaptureFixture,
) -> None:
    flight: SingleFlight[int] = SingleFlight()
    fails = Computation(ValueError("x"))
    only = asyncio.create_task(flight.run("a", fails))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert fails.started == 1
    only.cancel()
    await asyncio.gather(only, return_exceptions=True)
    fails.may_end.set()
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
