"""Whether a host's aggregates can be trusted: recount, completeness and provenance over HTTP, on every database."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.time import LATEST, from_seconds, micros, rfc3339, span
from sparkle_app.runtime.clock import WallClock
from sparkle_app.storage.hosts import record_activity
from sparkle_app.storage.retention import advance, begin
from sparkle_app.web.api import recount
from tests.support.cluster import PLUGIN, InProcessWorker
from tests.support.database import EVERY_DATABASE
from tests.support.fake_clock import FakeClock
from tests.support.rows import store

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
START, MINUTE = micros(BEGIN), 60_000_000
HOST = f"/api/v1/plugins/{PLUGIN}/hosts/web-1"
RANGE = "from=2026-11-23&to=2026-11-23T01:00:00Z"


@pytest.fixture
async def worker(tmp_path: Path, database_url: str) -> AsyncIterator[InProcessWorker]:
    """A worker with readings of an hour, every five minutes, without those from 00:20 to 00:40."""
    times = [BEGIN + timedelta(minutes=5 * n, seconds=n) for n in range(12) if not 4 <= n < 8]
    store(
        database_url,
        [
            (host, metric, float(n), at)
            for host in ("web-1", "web-2")
            for metric in "ab"
            for n, at in enumerate(times)
        ],
    )
    worker = InProcessWorker(tmp_path / "worker", f"database: {{url: '{database_url}'}}")
    worker.app.clock = WallClock(FakeClock(micros(BEGIN) / 1e6 + 86_400), FakeClock(0.0))
    await worker.start()
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    with worker.engine.begin() as connection:
        plugin.fill_aggregates(connection, ["web-1", "web-2"], 60, START, START + span(86_400))
    yield worker
    await worker.stop()


@EVERY_DATABASE
async def test_a_recount_finds_what_differs_and_only_that(worker: InProcessWorker) -> None:
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    status, found = await worker.get(f"{HOST}/recount?{RANGE}")
    assert (status, found["equal"], found["readings"], found["aggregates"]) == (200, True, 16, 16)
    assert (found["differing"], found["differences"]) == (0, [])
    changed = Statistics(9, 90.0, 1.0, 20.0, 5.0, START + 1)
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, [AggregateRow("web-1", "b", 60, START, changed)])
        plugin.store_aggregates(connection, [AggregateRow("web-2", "a", 60, START, changed)])
        plugin.delete_aggregates(connection, 60, [("web-1", START + 5 * MINUTE, "a")])
    status, found = await worker.get(f"{HOST}/recount?{RANGE}")
    assert (status, found["equal"], found["differing"], found["aggregates"]) == (200, False, 2, 15)
    one, other = sorted(found["differences"], key=lambda each: each["metric"])
    assert (one["metric"], one["at"], one["stored"], one["lagging"]) == (
        "a",
        "2026-11-23T00:05:00Z",
        None,
        True,
    )
    assert (one["recounted"]["count"], one["recounted"]["last"]) == (1, 1.0)
    assert (other["metric"], other["stored"]["count"], other["recounted"]["count"]) == ("b", 9, 1)
    assert not other["lagging"]
    # Whole buckets, and none outside the range.
    status, found = await worker.get(f"{HOST}/recount?from=2026-11-23T00:10:30Z&to=2026-11-23T00:15:00Z")
    assert (found["from"], found["readings"], found["equal"]) == ("2026-11-23T00:10:00Z", 2, True)


async def test_a_recount_is_bounded_and_an_unknown_host_has_nothing_to_count(
    worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, found = await worker.get(f"/api/v1/plugins/{PLUGIN}/hosts/unknown%00/recount?{RANGE}")
    assert (status, found["readings"], found["equal"]) == (200, 0, True)
    monkeypatch.setattr(recount, "MAX_READINGS", 15)
    status, problem = await worker.get(f"{HOST}/recount?{RANGE}")
    assert (status, problem["detail"].partition(":")[0]) == (400, "from")
    assert "at most 15 readings" in problem["detail"]
    assert problem["limit"] == "readings"


@EVERY_DATABASE
async def test_completeness_is_measured_by_the_interval_of_the_host(worker: InProcessWorker) -> None:
    status, problem = await worker.get(f"{HOST}/completeness?{RANGE}")
    assert (status, "sends readings of Temperature" in problem["detail"]) == (404, True)
    times = (START, START + 55 * MINUTE, START, START + 55 * MINUTE)
    record_activity(worker.engine, [HostActivity("web-1", PLUGIN, 1, *times, interval=5 * MINUTE)], LATEST)
    status, found = await worker.get(f"{HOST}/completeness?{RANGE}")
    assert status == 200
    assert (found["interval_seconds"], found["expected"], found["missing"]) == (300, 12, 4)
    assert found["completeness"] == 1 - 4 / 12
    assert found["gaps"] == [{"from": "2026-11-23T00:16:00Z", "to": "2026-11-23T00:40:00Z", "missing": 4}]
    # Before its first reading, and in the future, nothing was expected.
    status, found = await worker.get(f"{HOST}/completeness?from=2026-11-22T12:00:00Z&to=2026-11-23T00:20:00Z")
    assert (found["from"], found["missing"], found["completeness"]) == ("2026-11-23T00:00:00Z", 0, 1.0)
    status, found = await worker.get(f"{HOST}/completeness?from=2026-11-23T23:00:00Z&to=2026-11-25")
    assert found["to"] == rfc3339(from_seconds(worker.app.clock.now()))
    assert (found["completeness"], found["expected"]) == (0.0, 12)
    status, problem = await worker.get(f"{HOST}/completeness?from=2026-01-01&to=2026-11-23")
    assert (status, problem["detail"].partition(":")[0]) == (400, "from")
    assert problem["limit"] == "buckets"
    # The bucket in which the range begins counts, also if it is longer than the interval.
    record_activity(worker.engine, [HostActivity("web-2", PLUGIN, 1, *times, interval=span(20))], LATEST)
    path = f"{HOST.replace('web-1', 'web-2')}/completeness"
    status, found = await worker.get(f"{path}?from=2026-11-23T00:15:20Z&to=2026-11-23T00:16:00Z")
    assert (found["from"], found["expected"], found["missing"]) == ("2026-11-23T00:15:20Z", 2, 0)


@EVERY_DATABASE
async def test_responses_say_since_when_rows_are_kept(worker: InProcessWorker) -> None:
    times = (START, START + 55 * MINUTE, START, START + 55 * MINUTE)
    record_activity(worker.engine, [HostActivity("web-1", PLUGIN, 1, *times, interval=5 * MINUTE)], LATEST)
    paths = [f"{HOST}/{name}?{RANGE}" for name in ("recount", "completeness", "readings")]
    for path in paths:
        status, found = await worker.get(path)
        assert (status, found["kept_since"]) == (200, None)
    with worker.engine.begin() as connection:
        begin(connection, PLUGIN, 60)
    advance(worker.engine, PLUGIN, 0, kept_since=START + 15 * MINUTE)
    advance(worker.engine, PLUGIN, 60, kept_since=START + 40 * MINUTE)
    kept_since = []
    for path in paths:
        status, found = await worker.get(path)
        assert status == 200
        kept_since.append(found["kept_since"])
    assert kept_since == ["2026-11-23T00:15:00Z", "2026-11-23T00:40:00Z", "2026-11-23T00:15:00Z"]
    status, found = await worker.get(paths[0])
    # Buckets and readings before that time are not compared.
    assert (found["equal"], found["readings"], found["aggregates"]) == (True, 10, 8)
    # What has expired is not missing.
    status, found = await worker.get(paths[1])
    assert (found["from"], found["missing"], found["completeness"]) == ("2026-11-23T00:40:00Z", 0, 1.0)
    # A range of which everything is kept.
    status, found = await worker.get(f"{HOST}/readings?from=2026-11-23T00:15:00Z&to=2026-11-24")
    assert found["kept_since"] is None


@EVERY_DATABASE
async def test_a_point_leads_to_its_readings_and_these_to_their_records(worker: InProcessWorker) -> None:
    query = "from=2026-11-23T00:05:00Z&to=2026-11-23T00:10:00Z"
    status, found = await worker.get(f"{HOST}/readings?{query}&metric=b")
    assert status == 200
    (reading,) = found["readings"]
    assert (reading["metric"], reading["value"], reading["topic"], reading["partition"]) == ("b", 1.0, "t", 0)
    assert (reading["config_id"], reading["offset"], reading["clock_trusted"]) == (1, 9, True)
    assert reading["received_at"] == reading["observed_at"] == "2026-11-23T00:05:01Z"
    assert str(UUID(reading["id"])) == reading["id"]
    status, pages = await worker.get(f"{HOST}/readings?{RANGE}&metric=a&limit=5")
    assert {each["metric"] for each in pages["readings"]} == {"a"}
    assert len(pages["readings"]) == 5
    status, rest = await worker.get(f"{HOST}/readings?{RANGE}&metric=a&limit=5&after={pages['next']}")
    assert (len(rest["readings"]), rest["next"]) == (3, None)
