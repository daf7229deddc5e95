"""Snapshots of all hosts cost what has changed, whoever looks, and do not block other tasks."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sparkle_app.aggregate.windows import host_window
from sparkle_app.model.sample import Sample
from sparkle_app.model.time import rfc3339, span
from sparkle_app.runtime.clock import WallClock
from sparkle_app.web import slices
from sparkle_app.web.api import lines, overview
from sparkle_app.web.snapshots import fleet, local, refreshed
from sparkle_app.web.snapshots.views import MAX_FIRST, MAX_VIEWS
from tests.support.cluster import PARTITIONS, PLUGIN, InProcessWorker, assign, holder
from tests.support.fake_clock import FakeClock
from tests.support.host_lists import ALL, AT, HOSTS, LINES, NOW, last_value, sample, three_workers, until


@pytest.fixture
async def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[InProcessWorker]]:
    async with three_workers(tmp_path, monkeypatch) as workers:
        yield workers


class Counted:
    """The hosts whose windows are computed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hosts: list[str] = []

        def counted(table: Any, hostname: str, start: int, end: int) -> Any:
            self.hosts.append(hostname)
            return host_window(table, hostname, start, end)

        monkeypatch.setattr(local, "host_window", counted)


async def test_each_response_says_how_old_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refreshed, "REFRESH_SECONDS", 3600.0)
    monkeypatch.setattr(refreshed, "MAX_REFRESH_SECONDS", 3600.0)
    worker = InProcessWorker(tmp_path / "1", f"database: {{url: 'sqlite:///{tmp_path}/all.sqlite3'}}")
    wall, elapsed = FakeClock(NOW), FakeClock(0.0)
    worker.app.clock = WallClock(wall, elapsed)
    await worker.start()
    assign([worker], set(range(PARTITIONS)))
    worker.count("host-01", sample(60))
    tagged = (LINES, ALL, f"/api/v1/plugins/{PLUGIN}/cells")
    paths = (*tagged, "/api/v1/hosts/host-01", "/api/v1/pipeline")
    tags = dict.fromkeys(paths, "")

    async def ages() -> dict[str, tuple[int, str | None]]:
        found = {}
        for path in paths:
            async with worker.http.get(worker.url + path, headers={"If-None-Match": tags[path]}) as response:
                found[path] = response.status, response.headers.get("Age")
                tags[path] = response.headers.get("ETag", "")
        return found

    assert await ages() == dict.fromkeys(paths, (200, "0"))
    for path in paths:
        assert (await worker.get(path))[1]["made_at"] == rfc3339(AT)
    wall.now = elapsed.now = 4.0
    wall.now += NOW
    unchanged = {path: (304 if path in tagged else 200) for path in paths}
    assert await ages() == {path: (status, "4") for path, status in unchanged.items()}
    # Made again, with the same contents.
    monkeypatch.setattr(refreshed, "MAX_AGE_SECONDS", 0.0)
    assert await ages() == {path: (status, "0") for path, status in unchanged.items()}
    assert (await worker.get(ALL))[1]["made_at"] == rfc3339(AT + span(4))
    await worker.stop()


async def test_a_fleet_without_changes_is_sorted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refreshed, "REFRESH_SECONDS", 3600.0)
    worker = InProcessWorker(tmp_path / "1", f"database: {{url: 'sqlite:///{tmp_path}/all.sqlite3'}}")
    wall, elapsed = FakeClock(NOW), FakeClock(0.0)
    worker.app.clock = WallClock(wall, elapsed)
    await worker.start()
    assign([worker], set(range(PARTITIONS)))
    for number in range(3):
        worker.count(f"host-{number}", sample(60 + number))
    monkeypatch.setattr(refreshed, "MAX_AGE_SECONDS", 0.0)
    sorted_hosts: list[str] = []

    def counted(row: Any, plugin: str) -> float | None:
        sorted_hosts.append(plugin)
        return overview_last(row, plugin)

    overview_last = overview._last
    monkeypatch.setattr(overview, "_last", counted)
    for seconds, hosts in [(0, 3), (2, 3), (4, 3), (6, 4)]:
        wall.now, elapsed.now = NOW + seconds, float(seconds)
        if hosts == 4:
            worker.count("host-3", sample(70))
        status, page = await worker.get(f"{ALL}?sort=-{PLUGIN}")
        assert (status, page["made_at"]) == (200, rfc3339(AT + span(seconds)))
        assert page["hosts"][0]["host"] == f"host-{hosts - 1}"
        assert len(sorted_hosts) == (3 if hosts == 3 else 3 + 4)
    await worker.stop()


async def test_clients_of_different_lists_do_not_cost_each_other_more(
    workers: list[InProcessWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    sorted_hosts = 0

    def counted(statistics: Any, name: str) -> float | None:
        nonlocal sorted_hosts
        sorted_hosts += 1
        return statistic(statistics, name)

    statistic = lines._statistic
    monkeypatch.setattr(lines, "_statistic", counted)

    async def ask(*windows: int) -> None:
        for window in windows:
            assert (await workers[0].get(f"{LINES}?sort=-last&window={window}"))[0] == 200

    await ask(900, 600, 900, 600)
    assert sorted_hosts == 2 * len(HOSTS)
    # Those of a few are kept.
    await ask(*range(60, 60 * (lines.MAX_CACHES + 1), 60), 900)
    assert sorted_hosts == (2 + lines.MAX_CACHES + 1) * len(HOSTS)


async def test_views_that_are_dropped_are_not_refreshed_and_few_are_made_at_one_time(
    workers: list[InProcessWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh, first, most = fleet.FleetView._refresh, 0, 0

    async def counted(view: fleet.FleetView) -> fleet.FleetSnapshot:
        nonlocal first, most
        if view._snapshot is not None:
            return await refresh(view)
        first += 1
        most = max(most, first)
        try:
            return await refresh(view)
        finally:
            first -= 1

    monkeypatch.setattr(fleet.FleetView, "_refresh", counted)
    windows = range(60, 60 * (2 * MAX_VIEWS + 1), 60)
    found = await asyncio.gather(*(workers[0].get(f"{LINES}?window={window}") for window in windows))
    assert {status for status, _ in found} == {200}
    assert most == MAX_FIRST
    background = [
        task
        for task in asyncio.all_tasks()
        if getattr(task.get_coro(), "__qualname__", "") == "Refreshed._run"
    ]
    assert 0 < len(background) <= MAX_VIEWS + len(workers[0].parts.plugins)


async def test_viewers_cost_no_computation_and_only_changed_hosts_are_computed(
    workers: list[InProcessWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    answers = await asyncio.gather(*(worker.get(f"{ALL}?limit=7") for worker in workers for _ in range(20)))
    assert all(answer == answers[0] for answer in answers)
    # Each worker has those of its own hosts, and gives them to the two others.
    assert sorted(counted.hosts) == HOSTS
    counted.hosts.clear()
    holder(workers, "host-07").count("host-07", sample(77.5, ago=1))
    for worker in workers:
        _, page = await until(
            worker, f"{ALL}?search=host-07", lambda _, page: last_value(page, "host-07") == 77.5
        )
        assert last_value(page, "host-07") == 77.5
    for _ in range(30):
        await workers[0].get(ALL)
        await asyncio.sleep(0.005)
    assert counted.hosts == ["host-07"]


@pytest.mark.parametrize("seed", range(5))
async def test_the_values_of_changed_hosts_are_those_of_a_new_view(tmp_path: Path, seed: int) -> None:
    """Late readings, readings ahead of the window, pruned buckets, and a window that moves."""
    chance = random.Random(seed)
    worker = InProcessWorker(tmp_path / "worker")
    await worker.start()
    assign([worker], set(range(PARTITIONS)))

    def compute(hostname: str, metrics: Any) -> Any:
        return hostname, {name: (each.count, each.last) for name, each in metrics.items()}

    view = local.LocalView(worker.parts, PLUGIN, compute)
    minute, start = span(60), AT - AT % span(60)
    for step in range(120):
        for _ in range(chance.randrange(4)):
            at = start + minute * chance.randrange(-8, 3) + chance.randrange(minute)
            metric = chance.choice(["a", "b"])
            worker.count(chance.choice(HOSTS[:9]), Sample(chance.randbytes(8), metric, float(step), at))
        start += minute * chance.choice([0, 0, 0, 1, 1, 3])
        if chance.random() < 0.1:
            worker.table.prune(start - 5 * minute)
        if chance.random() < 0.05:
            assign([worker], set(range(PARTITIONS)))
        epoch, changes, before = view.epoch, view.changes, dict(view.values)
        await view.update(start - 5 * minute, start + minute)
        new = local.LocalView(worker.parts, PLUGIN, compute)
        await new.update(start - 5 * minute, start + minute)
        assert view.values == new.values
        # Who has applied all changes has the same values.
        if epoch != view.epoch:
            changes, before = 0, {}
        for change, hostname in view.changed_since(changes, 1000):
            assert change > changes
            before.pop(hostname, None)
            if hostname in view.values:
                before[hostname] = view.values[hostname]
        assert before == view.values
    await worker.stop()


async def test_other_tasks_run_while_a_snapshot_of_many_hosts_is_made(
    workers: list[InProcessWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Structural, not timed: with slices of no length, everybody has a turn between any two hosts."""
    (first, *_) = workers
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    for number in range(300):
        first.table[f"many-{number:03}", AT - AT % span(60)] = first.table[
            next(key for key in first.table.data)
        ]
    turns = 0
    steps: list[int] = []

    def noted(*arguments: Any) -> Any:
        steps.append(turns)
        return host_window(*arguments)

    monkeypatch.setattr(local, "host_window", noted)
    asking = asyncio.create_task(first.get(f"{ALL}?sort=-{PLUGIN}"))
    while not asking.done():
        turns += 1
        await asyncio.sleep(0)
    assert (await asking)[0] == 200
    assert len(steps) >= 300
    assert len(set(steps)) >= 300


async def test_a_snapshot_is_made_only_while_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refreshed, "REFRESH_SECONDS", 0.01)
    monkeypatch.setattr(refreshed, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(refreshed, "MAX_REFRESH_SECONDS", 0.05)
    made = 0

    async def make() -> int:
        nonlocal made
        made += 1
        if made == 3:
            raise ValueError("third")
        return made

    view = refreshed.Refreshed(make)
    assert await view.get() == 1
    seen: set[Any] = set()
    while made < 5:
        try:
            seen.add(await view.get())
        except ValueError as error:
            seen.add(str(error))
        await asyncio.sleep(0.001)
    assert "third" in seen
    await asyncio.sleep(0.3)
    stopped = made
    await asyncio.sleep(0.1)
    assert made == stopped
    assert await view.get() == stopped + 1
