"""Queries of the database wait in a queue of limited length, and only as long as somebody waits for them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from sparkle_app.web.api import series
from sparkle_app.web.api.series import SeriesQueries
from sparkle_app.web.parts import MAX_QUERIES, QUERY_THREADS
from sparkle_app.web.problems import RETRY_SECONDS, Problem
from sparkle_app.web.queries import from_database
from sparkle_app.worker import host_watch
from sparkle_app.worker.host_watch import watch_hosts
from sparkle_app.worker.parts import _READERS
from tests.support.cluster import PLUGIN, InProcessWorker

PATH = f"/api/v1/plugins/{PLUGIN}/hosts/a/series?to=2026-01-01&from=2025-12-31"


class Database:
    """Queries of series begin, and end with status 400 when the test says so."""

    def __init__(self) -> None:
        self.started = 0
        self.may_end = threading.Event()

    def __call__(self, *_: Any) -> None:
        self.started += 1
        assert self.may_end.wait(30)
        raise Problem(400, "ended")


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[InProcessWorker]:
    """A worker with as many threads as a real one."""
    async with InProcessWorker(tmp_path / "a") as worker:
        worker.readers._max_workers = _READERS
        yield worker


@pytest.fixture
def database(worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    database = Database()
    monkeypatch.setattr(series, "steps_of", database)
    yield database
    database.may_end.set()


async def ask(worker: InProcessWorker, number: int) -> list[asyncio.Task[Any]]:
    """Wait until so many different queries are executed or wait."""
    queries = SeriesQueries(worker.parts)
    limits = [{"from": at, "to": 10**9} for at in range(number)]
    tasks = [
        asyncio.create_task(queries.series(PLUGIN, "a", metric=None, step=None, **each)) for each in limits
    ]
    while worker.parts.queries.calls < number:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return tasks


async def test_queries_whose_clients_have_left_are_not_executed(
    worker: InProcessWorker, database: Database
) -> None:
    left = await ask(worker, MAX_QUERIES)
    while database.started < QUERY_THREADS:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    for each in left:
        each.cancel()
    await asyncio.wait(left)
    other = asyncio.create_task(from_database(worker.parts, lambda _connection: "found"))
    await asyncio.sleep(0.1)
    # Those in progress cannot be stopped.
    assert worker.parts.queries.calls == QUERY_THREADS + 1
    assert worker.readers._work_queue.qsize() == 0
    database.may_end.set()
    assert await other == "found"
    async with asyncio.timeout(30):
        while worker.parts.queries.calls:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert database.started == QUERY_THREADS


async def test_further_queries_are_refused_and_others_are_not_affected(
    worker: InProcessWorker, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_watch, "read_transaction", lambda _engine: nullcontext())
    monkeypatch.setattr(host_watch, "count_hosts", lambda _connection, _now: {PLUGIN: (3, 1)})
    asked = await ask(worker, MAX_QUERIES)
    async with worker.http.get(worker.url + PATH) as refused:
        assert (refused.status, refused.headers.get("Retry-After")) == (503, str(RETRY_SECONDS))
        assert f"expected at most {MAX_QUERIES} queries" in (await refused.json())["detail"]
    assert (await worker.get("/health/live"))[0] == 200
    assert (await worker.get("/health/ready"))[1]["checks"]["database"] == "ok"
    metrics = worker.app.metrics
    watching = asyncio.create_task(
        watch_hosts(worker.engine, worker.readers, worker.app.clock, metrics, [PLUGIN])
    )
    async with asyncio.timeout(5):
        labels = {"plugin": PLUGIN, "state": "silent"}
        while metrics.registry.get_sample_value("sparkle_hosts", labels) != 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    watching.cancel()
    database.may_end.set()
    assert {str(error) for error in await asyncio.gather(*asked, return_exceptions=True)} == {"ended"}
    assert (await worker.get(PATH))[0] == 400


async def test_an_error_of_the_database_ends_the_turn(worker: InProcessWorker) -> None:
    def fails(_connection: Connection) -> None:
        raise OSError("no answer")

    for _ in range(QUERY_THREADS + 1):
        with pytest.raises(Problem, match="no answer"):
            await from_database(worker.parts, fails)
    assert worker.parts.queries.calls == 0
