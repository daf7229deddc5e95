"""Window queries that are equal and concurrent are computed once."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from sparkle_app.aggregate.windows import host_window
from sparkle_app.model.sample import Sample
from sparkle_app.model.time import from_seconds
from sparkle_app.web import slices
from sparkle_app.web.api import window_queries
from sparkle_app.web.api.window_queries import WindowQueries
from tests.support.cluster import PARTITIONS, PLUGIN, InProcessWorker, assign


async def test_who_asks_the_same_at_the_same_time_gets_one_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merges = 0

    def counted(*arguments: Any) -> Any:
        nonlocal merges
        merges += 1
        return host_window(*arguments)

    monkeypatch.setattr(window_queries, "host_window", counted)
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    worker = InProcessWorker(tmp_path / "worker")
    await worker.start()
    assign([worker], set(range(PARTITIONS)))
    hosts = [f"host-{number}" for number in range(20)]
    now = from_seconds(time.time())
    for hostname in hosts:
        worker.count(hostname, Sample(b"12345678", "core/0", 1.0, now))
    queries = WindowQueries(worker.parts)
    fleets = await asyncio.gather(*(queries.fleet(PLUGIN, 3600) for _ in range(8)))
    assert merges == len(hosts)
    assert all(fleet == fleets[0] for fleet in fleets)
    # Another window is another query, and a later request is answered with what has been counted since.
    await asyncio.gather(queries.fleet(PLUGIN, 3600), queries.fleet(PLUGIN, 900))
    assert merges == 3 * len(hosts)
    worker.count("new", Sample(b"12345678", "core/0", 1.0, now))
    assert (await queries.fleet(PLUGIN, 3600)).hosts == fleets[0].hosts + 1
    await worker.stop()
