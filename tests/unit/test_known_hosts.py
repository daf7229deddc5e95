"""What overviews show of the hosts that SQL knows: also while the database does not answer."""

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sparkle_app.storage.hosts import record_activity, select_hosts
from sparkle_app.web.snapshots import known_hosts
from tests.support.cluster import InProcessWorker, holder
from tests.support.fake_clock import FakeClock
from tests.support.host_lists import ALL, NOW, activity, last_value, sample, three_workers, until


@pytest.fixture
async def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[InProcessWorker]]:
    async with three_workers(tmp_path, monkeypatch) as workers:
        yield workers


def pass_seconds(worker: InProcessWorker, later: float) -> None:
    """Hosts that were loaded more than a minute before are loaded again."""
    worker.app.clock._offset = NOW + later
    worker.app.clock._wall = FakeClock(NOW + later)


async def test_nobody_waits_for_a_database_that_does_not_answer(
    workers: list[InProcessWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = workers
    record_activity(first.engine, [activity("gone", 86_400)])
    _, page = await first.get(ALL)
    assert (page["total"], page["problem"]) == (41, None)
    answers = threading.Event()

    def late(connection: Any) -> Any:
        assert answers.wait(60)
        return select_hosts(connection)

    monkeypatch.setattr(known_hosts, "select_hosts", late)
    monkeypatch.setattr(known_hosts, "ANSWER_SECONDS", 0.01)
    pass_seconds(first, 61)
    holder(workers, "host-00").count("host-00", sample(99.5, ago=-60))
    try:
        status, page = await until(first, f"{ALL}?limit=1000", lambda _, page: bool(page["problem"]))
        assert (status, page["problem"]) == (200, "database: no answer within 0.01 s")
        assert (page["total"], page["states"]["silent"], last_value(page, "host-00")) == (41, 1, 99.5)
        # One that has just started does not know of silent hosts.
        status, page = await second.get(ALL)
        assert (status, page["problem"]) == (200, "database: no answer within 0.01 s")
        assert (page["total"], page["states"]["silent"]) == (40, 0)
    finally:
        answers.set()
    for worker in (first, second):
        _, page = await until(worker, ALL, lambda _, page: page["problem"] is None)
        assert (page["total"], page["problem"]) == (41, None)
