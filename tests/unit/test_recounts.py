"""Recounts of different hosts wait for each other, and not too many of them."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from sparkle_app.web.api.recount import MAX_RECOUNTS, Recounts
from sparkle_app.web.problems import Problem
from tests.support.cluster import PLUGIN, InProcessWorker


async def test_recounts_take_one_thread_and_few_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = InProcessWorker(tmp_path / "a")
    await worker.start()
    worker.readers._max_workers = 4
    go_on, running = threading.Event(), 0

    def recount(_self: Recounts, _plugin: str, host: str, *_range: Any) -> str:
        nonlocal running
        running += 1
        assert running == 1
        go_on.wait(30)
        running -= 1
        return host

    monkeypatch.setattr(Recounts, "_recount", recount)
    recounts = Recounts(worker.parts)
    hosts = [str(number) for number in range(MAX_RECOUNTS)]
    tasks = [asyncio.create_task(recounts.recount(PLUGIN, host, 0, 1)) for host in hosts]
    while recounts._limit.calls < MAX_RECOUNTS:  # noqa: ASYNC110
        await asyncio.sleep(0)
    with pytest.raises(Problem, match="20 recounts") as caught:
        await recounts.recount(PLUGIN, "another", 0, 1)
    assert caught.value.status == 503
    # Other queries have a thread.
    assert await asyncio.get_running_loop().run_in_executor(worker.readers, str, "free") == "free"
    go_on.set()
    assert [str(found) for found in await asyncio.gather(*tasks)] == hosts
    assert recounts._limit.calls == 0
    await worker.stop()


async def test_a_recount_that_nobody_waits_for_still_has_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, started = threading.Event(), []

    def recount(_self: Recounts, _plugin: str, host: str, *_range: Any) -> str:
        started.append(host)
        go_on.wait(30)
        return host

    monkeypatch.setattr(Recounts, "_recount", recount)
    async with InProcessWorker(tmp_path / "a") as worker:
        worker.readers._max_workers = 4
        recounts = Recounts(worker.parts)
        left = [asyncio.create_task(recounts.recount(PLUGIN, str(number), 0, 1)) for number in range(5)]
        while not started:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for each in left:
            each.cancel()
        await asyncio.wait(left)
        # The first thread cannot be stopped: another recount waits for it, and those that waited are not executed.
        next_one = asyncio.create_task(recounts.recount(PLUGIN, "next", 0, 1))
        await asyncio.sleep(0.1)
        assert (len(started), recounts._limit.calls) == (1, 2)
        go_on.set()
        assert str(await next_one) == "next"
        assert (len(started), recounts._limit.calls) == (2, 0)
