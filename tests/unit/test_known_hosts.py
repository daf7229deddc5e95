"""What overviews show of the hosts that SQL knows: also while the database does not answer."""

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sparkle_app.model.time import LATEST
from sparkle_app.storage.host_queries import select_hosts
from sparkle_app.storage.hosts import record_activity, remove_host
from sparkle_app.web.snapshots import known_hosts
from tests.support.cluster import PLUGIN, InProcessWorker, holder
from tests.support.fake_clock import FakeClock
from tests.support.host_lists import ALL, AT, NOW, activity, last_value, sample, three_workers, until


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
    record_activity(first.engine, [activity("gone", 86_400)], LATEST)
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


async def test_a_removed_host_is_not_a_new_one_because_of_what_it_sent_before(
    workers: list[InProcessWorker],
) -> None:
    (first, *_) = workers
    record_activity(first.engine, [activity("host-00", 400), activity("host-01", 400, "PU_Workload")], LATEST)
    _, page = await first.get(f"{ALL}?state=silent")
    assert [each["host"] for each in page["hosts"]] == ["host-01"]
    with first.engine.begin() as connection:
        assert remove_host(connection, "host-00", None, AT)
        assert remove_host(connection, "host-01", "PU_Workload", AT)
    pass_seconds(first, 61)
    _, page = await until(first, f"{ALL}?limit=1000", lambda _, page: page["total"] != 40)
    by_host = {each["host"]: each for each in page["hosts"]}
    assert (page["total"], "host-00" in by_host) == (39, False)
    # Only a plugin of it was removed.
    assert (by_host["host-01"]["state"], set(by_host["host-01"]["plugins"])) == ("ok", {PLUGIN})
    assert (await first.get("/api/v1/hosts/host-00"))[0] == 404
    # It sends again.
    record_activity(first.engine, [activity("host-00", -70)], LATEST)
    pass_seconds(first, 122)
    _, page = await until(first, f"{ALL}?search=host-00", lambda _, page: bool(page["hosts"]))
    assert [each["state"] for each in page["hosts"]] == ["ok"]
