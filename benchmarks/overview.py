"""Lists of all hosts, asked for by several viewers while readings arrive, and the pauses of the worker's event loop.

The worker's web server runs in this process, with real tables and without Kafka; the viewers run in another process.
"""

import asyncio
import contextlib
import gc
import json
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import requests

from sparkle_app.model.buckets import Bucket
from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.sample import Sample
from sparkle_app.model.time import LATEST, from_seconds, span
from sparkle_app.storage.hosts import Host, record_activity
from tests.support.cluster import PARTITIONS, PLUGIN, InProcessWorker, assign

BUCKETS, BUCKET_SECONDS = 16, 60
PROBE_SECONDS = 0.001
POLL_SECONDS = 0.1
PATHS = (
    "/api/v1/overview?sort=state&limit=50",
    f"/api/v1/overview?sort=-{PLUGIN}&limit=50",
    f"/api/v1/plugins/{PLUGIN}/hosts?sort=-maximum&limit=50",
    f"/api/v1/plugins/{PLUGIN}/cells",
)
BASE = "/health/live"
Figures = dict[str, float]


def measure(folder: Path, hosts: int, metrics: int, viewers: int, seconds: float) -> Figures:
    """Each host sends a reading of each metric once a minute; each viewer sends a request ten times a second.

    Returns:
        ``first``: time of the first response (ms); ``p50`` and ``p99`` of the others (ms), and their number;
        ``base_p50`` and ``base_p99``: the same of a path that does nothing; ``pause``: the most CPU time of the event
        loop between two turns of another task (ms), and ``pause_p99``; ``cpu``: CPU time of the process per second.
    """
    return asyncio.run(_measure(folder, hosts, metrics, viewers, seconds))


async def _measure(folder: Path, hosts: int, metrics: int, viewers: int, seconds: float) -> Figures:
    async with serving(folder, hosts, metrics) as (worker, first):
        stop = asyncio.Event()
        pauses = asyncio.create_task(_pauses(stop))
        used = time.process_time()
        arguments = (worker.url, str(viewers), str(seconds))
        times, base = await in_another_process("benchmarks.overview", *arguments)
        used = time.process_time() - used
        stop.set()
        longest = sorted(await pauses)
    cuts, base_cuts = (statistics.quantiles(each, n=100, method="inclusive") for each in (times, base))
    return {
        "requests": len(times),
        "first": 1000 * first,
        "p50": cuts[49],
        "p99": cuts[98],
        "base_p50": base_cuts[49],
        "base_p99": base_cuts[98],
        "pause": 1000 * longest[-1],
        "pause_p99": 1000 * longest[int(len(longest) * 0.99)],
        "cpu": used / seconds,
    }


@contextlib.asynccontextmanager
async def serving(folder: Path, hosts: int, metrics: int) -> AsyncIterator[tuple[InProcessWorker, float]]:
    """A worker whose hosts send a reading of each metric once a minute, and the seconds of its first response."""
    worker = InProcessWorker(folder / "worker", f"database: {{url: 'sqlite:///{folder}/hosts.sqlite3'}}")
    await worker.start()
    assign([worker], set(range(PARTITIONS)))
    names = [f"host-{number:05}" for number in range(hosts)]
    _fill(worker, names, metrics)
    # As a worker does at its start.
    gc.collect()
    gc.freeze()
    try:
        began = time.perf_counter()
        async with worker.http.get(worker.url + PATHS[0]) as response:
            await response.read()
            assert response.status == 200, f"expected status 200, found {response.status}"
        first = time.perf_counter() - began
        stop = asyncio.Event()
        readings = asyncio.create_task(_readings(worker, names, metrics, stop))
        yield worker, first
        stop.set()
        await readings
    finally:
        gc.unfreeze()
        await worker.stop()


def _fill(worker: InProcessWorker, names: list[str], metrics: int) -> None:
    now = int(time.time()) // BUCKET_SECONDS * BUCKET_SECONDS
    for ago in range(BUCKETS):
        for number, name in enumerate(names):
            worker.table[name, from_seconds(now - ago * BUCKET_SECONDS)] = _bucket(
                from_seconds(now - ago * BUCKET_SECONDS + number % BUCKET_SECONDS), metrics
            )
    worker.table._changed.clear()
    Host.__table__.create(worker.engine)
    at = from_seconds(now)
    for begin in range(0, len(names), 500):
        some = names[begin : begin + 500]
        record_activity(
            worker.engine, [HostActivity(name, PLUGIN, 1, at, at, at, at, span(60)) for name in some], LATEST
        )


def _bucket(at: int, metrics: int) -> bytes:
    bucket = Bucket()
    for metric in range(metrics):
        bucket.add(Sample(random.randbytes(8), f"core/{metric}", random.gauss(60, 12), at + metric * 1000))
    return bucket.pack()


async def _readings(worker: InProcessWorker, names: list[str], metrics: int, stop: asyncio.Event) -> None:
    number = 0
    started = time.monotonic()
    while not stop.is_set():
        due = (time.monotonic() - started) * len(names) / BUCKET_SECONDS
        for _ in range(min(10, int(due) - number)):
            now = time.time()
            start = from_seconds(now // BUCKET_SECONDS * BUCKET_SECONDS)
            worker.table[names[number % len(names)], start] = _bucket(from_seconds(now), metrics)
            number += 1
        worker.table._changed.clear()
        await asyncio.sleep(0.01)


async def _pauses(stop: asyncio.Event) -> list[float]:
    found = []
    while not stop.is_set():
        # Not the time of day, which other programs take on a busy machine.
        began = time.thread_time()
        await asyncio.sleep(PROBE_SECONDS)
        found.append(time.thread_time() - began)
    return found


async def in_another_process(module: str, *arguments: str) -> Any:
    """The JSON that a module writes when it is run."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, f"expected exit code 0 of {module}, found {process.returncode}"
    return json.loads(output)


def view(url: str, viewers: int, seconds: float) -> tuple[list[float], list[float]]:
    """Response times in milliseconds of viewers that send the entity tag of their last response, as browsers do.

    Those of :data:`BASE` are the second list.
    """
    base: list[float] = []

    async def one(number: int) -> list[float]:
        session, tags = requests.Session(), dict[str, str]()
        times: list[float] = []
        until = time.monotonic() + seconds
        turn = number
        while time.monotonic() < until:
            path = (*PATHS, BASE)[turn % (len(PATHS) + 1)]
            turn += 1
            began = time.perf_counter()
            headers = {"If-None-Match": tags[path]} if path in tags else {}
            response = await _in_thread(session, url + path, headers)
            (base if path == BASE else times).append(1000 * (time.perf_counter() - began))
            assert response.status_code in {200, 304}, f"expected 200 or 304, found {response.status_code}"
            tags[path] = response.headers.get("ETag", "")
            await asyncio.sleep(POLL_SECONDS)
        return times

    def _in_thread(
        session: requests.Session, url: str, headers: dict[str, str]
    ) -> Awaitable[requests.Response]:
        return asyncio.to_thread(session.get, url, headers=headers, timeout=30)

    async def every() -> tuple[list[float], list[float]]:
        found = await asyncio.gather(*map(one, range(viewers)))
        return [each for times in found for each in times], base

    return asyncio.run(every())


if __name__ == "__main__":
    print(json.dumps(view(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
