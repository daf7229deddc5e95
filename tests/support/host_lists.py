"""Three workers in this process whose hosts are listed."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.sample import Sample
from sparkle_app.model.time import from_seconds, span
from sparkle_app.runtime.clock import WallClock
from sparkle_app.storage.hosts import Host
from sparkle_app.web.snapshots import refreshed
from tests.support.cluster import PLUGIN, InProcessWorker, assign, holder
from tests.support.fake_clock import FakeClock

NOW = 1_800_000_030.0
AT = from_seconds(NOW)
HOSTS = [f"host-{number:02}" for number in range(40)]
LINES = f"/api/v1/plugins/{PLUGIN}/hosts"
ALL = "/api/v1/overview"


def sample(value: float, ago: float = 20, metric: str = "core/0") -> Sample:
    """A sample of some seconds before the present."""
    return Sample(random.randbytes(8), metric, float(value), AT - from_seconds(ago))


def activity(hostname: str, seconds_ago: int, plugin: str = PLUGIN) -> HostActivity:
    """What SQL knows of a host that sends readings once a minute, and sent the last one before some seconds."""
    at = AT - span(seconds_ago)
    return HostActivity(hostname, plugin, 3, at - span(9), at, at - span(9), at, span(60))


@asynccontextmanager
async def three_workers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[InProcessWorker]]:
    """Three workers with one database; the value of host-NN is (7 * NN) % 40 + 60."""
    monkeypatch.setattr(refreshed, "REFRESH_SECONDS", 0.02)
    url = f"database: {{url: 'sqlite:///{folder}/all.sqlite3'}}"
    workers = [InProcessWorker(folder / str(number), url) for number in range(3)]
    async with AsyncExitStack() as stack:
        for worker in workers:
            worker.app.clock = WallClock(FakeClock(NOW), FakeClock(0.0))
            await stack.enter_async_context(worker)
        Host.__table__.create(workers[0].engine)
        assign(workers, {0, 2}, {1}, {3})
        for number, hostname in enumerate(HOSTS):
            holder(workers, hostname).count(hostname, sample(7 * number % 40 + 60))
        yield workers


async def until(worker: InProcessWorker, path: str, accept: Callable[[int, Any], bool]) -> tuple[int, Any]:
    """The first acceptable response; the last one after ten seconds."""
    until = time.monotonic() + 10
    while True:
        found = await worker.get(path)
        if accept(*found) or time.monotonic() > until:
            return found
        await asyncio.sleep(0.02)


def last_value(page: Any, hostname: str) -> Any:
    """The value of a host in a response of the overview; None if it has none."""
    hosts = {each["host"]: each for each in page["hosts"]}
    return hosts[hostname]["plugins"][PLUGIN]["headline"]["last"] if hostname in hosts else None
