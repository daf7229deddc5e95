"""Lists of hosts from snapshots: exact, sorted and paged, of all workers. Three workers in this process."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sparkle_app.aggregate.windows import host_window
from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.sample import Sample
from sparkle_app.model.time import from_seconds, rfc3339, span
from sparkle_app.runtime.clock import WallClock
from sparkle_app.storage.hosts import Host, record_activity
from sparkle_app.web import slices
from sparkle_app.web.snapshots import fleet, lines, local, refreshed
from sparkle_app.web.snapshots.views import MAX_FIRST, MAX_VIEWS
from tests.support.cluster import PARTITIONS, PLUGIN, InProcessWorker, assign, holder
from tests.support.fake_clock import FakeClock

NOW = 1_800_000_030.0
AT = from_seconds(NOW)
HOSTS = [f"host-{number:02}" for number in range(40)]
LINES = f"/api/v1/plugins/{PLUGIN}/hosts"
ALL = "/api/v1/overview"


def sample(value: float, ago: float = 20, metric: str = "core/0") -> Sample:
    return Sample(random.randbytes(8), metric, float(value), AT - from_seconds(ago))


class Counted:
    """The hosts whose windows are computed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hosts: list[str] = []

        def counted(table: Any, hostname: str, start: int, end: int) -> Any:
            self.hosts.append(hostname)
            return host_window(table, hostname, start, end)

        monkeypatch.setattr(local, "host_window", counted)


@pytest.fixture
async def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[InProcessWorker]]:
    """Three workers with one database; the value of host-NN is (7 * NN) % 40 + 60."""
    monkeypatch.setattr(web.RequestHandler, "handle_error", web.RequestHandler.handle_error)
    monkeypatch.setattr(refreshed, "REFRESH_SECONDS", 0.02)
    url = f"database: {{url: 'sqlite:///{tmp_path}/all.sqlite3'}}"
    workers = [InProcessWorker(tmp_path / str(number), url) for number in range(3)]
    for worker in workers:
        worker.app.clock = WallClock(FakeClock(NOW), FakeClock(0.0))
        await worker.start()
    Host.__table__.create(workers[0].engine)
    assign(workers, {0, 2}, {1}, {3})
    for number, hostname in enumerate(HOSTS):
        holder(workers, hostname).count(hostname, sample(7 * number % 40 + 60))
    yield workers
    for worker in workers:
        await worker.stop()


async def until(worker: InProcessWorker, path: str, accept: Callable[[int, Any], bool]) -> tuple[int, Any]:
    """The first acceptable response; the last one after ten seconds."""
    until = time.monotonic() + 10
    while True:
        found = await worker.get(path)
        if accept(*found) or time.monotonic() > until:
            return found
        await asyncio.sleep(0.02)


def values(page: Any) -> list[float]:
    return [each["headline"]["last"] for each in page["hosts"]]


@pytest.mark.parametrize("sort", ["-maximum", "maximum", "-last", "average", "-host", "-last_at", "count"])
async def test_the_ranking_is_that_of_all_workers(workers: list[InProcessWorker], sort: str) -> None:
    by, sign = sort.removeprefix("-"), -1 if sort.startswith("-") else 1
    found = []
    for number, worker in enumerate(workers):
        status, page = await worker.get(f"{LINES}?sort={sort}&limit=15&offset={15 * number}")
        assert (status, page["total"], page["next"]) == (200, 40, None)
        found += page["hosts"]
    assert sorted(each["host"] for each in found) == HOSTS
    names = [each["host"] for each in found]
    if by == "host":
        assert names == HOSTS[::-1]
    elif by in {"last_at", "count"}:
        assert names == HOSTS
    else:
        keys = [(sign * each["headline"][by], each["host"]) for each in found]
        assert keys == sorted(keys)


async def test_hosts_are_found_by_state_and_by_a_part_of_their_name(workers: list[InProcessWorker]) -> None:
    holder(workers, "Größe-1").count("Größe-1", sample(96, ago=1))
    status, page = await workers[0].get(f"{LINES}?state=critical&limit=1000")
    assert (status, {value > 95 for value in values(page)}, page["total"]) == (200, {True}, 5)
    status, page = await workers[0].get(f"{LINES}?search=GR%C3%96SSE")
    assert [each["host"] for each in page["hosts"]] == ["Größe-1"]
    status, page = await workers[0].get(f"{LINES}?search=t-1&state=ok&sort=-last&limit=3")
    assert values(page) == sorted(values(page), reverse=True)
    assert all("t-1" in each["host"] and each["state"] == "ok" for each in page["hosts"])
    status, problem = await workers[0].get(f"{LINES}?sort=last&after=host-1")
    assert (status, problem["detail"].partition(":")[0]) == (400, "after")
    status, problem = await workers[0].get(f"{LINES}?sort=size")
    assert (status, problem["detail"].partition(":")[0]) == (400, "sort")


async def test_a_client_that_has_the_response_gets_304_from_any_worker(
    workers: list[InProcessWorker],
) -> None:
    first, second, _ = workers
    for path in (f"{LINES}?sort=-last&limit=5", f"{ALL}?sort=state", f"/api/v1/plugins/{PLUGIN}/cells"):
        async with first.http.get(first.url + path) as response:
            tag = response.headers["ETag"]
            assert response.headers["Cache-Control"] == "private, no-cache"
            assert (response.status, bool(await response.read())) == (200, True)
        for given in (tag, f'"other", W/{tag}'):
            async with second.http.get(second.url + path, headers={"If-None-Match": given}) as response:
                assert (response.status, await response.read()) == (304, b"")
                assert response.headers["ETag"] == tag
    holder(workers, "host-01").count("host-01", sample(99.5, ago=1))

    async def status() -> int:
        async with second.http.get(second.url + path, headers={"If-None-Match": tag}) as response:
            return response.status

    _, page = await until(second, path, lambda _, page: 99.5 in page["last"])
    assert (99.5 in page["last"], await status()) == (True, 200)


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
    assert 0 < len(background) <= MAX_VIEWS


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
        _, page = await until(worker, f"{ALL}?search=host-07", lambda _, page: _last(page, "host-07") == 77.5)
        assert _last(page, "host-07") == 77.5
    for _ in range(30):
        await workers[0].get(ALL)
        await asyncio.sleep(0.005)
    assert counted.hosts == ["host-07"]


def _last(page: Any, hostname: str) -> Any:
    hosts = {each["host"]: each for each in page["hosts"]}
    return hosts[hostname]["plugins"][PLUGIN]["headline"]["last"] if hostname in hosts else None


async def test_pages_of_a_long_list_reach_the_other_workers(
    workers: list[InProcessWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PAGE_LINES", 3)
    for worker in workers:
        status, page = await worker.get(f"{LINES}?limit=1000")
        assert (status, [each["host"] for each in page["hosts"]]) == (200, HOSTS)


async def test_while_a_worker_does_not_answer_its_hosts_are_shown_as_they_were(
    workers: list[InProcessWorker],
) -> None:
    first, second, third = workers
    theirs = [hostname for hostname in HOSTS if holder(workers, hostname) is third]
    assert theirs
    status, page = await first.get(f"{ALL}?limit=1000")
    assert (status, page["outdated"], page["problem"], page["total"]) == (200, [], None, 40)
    url = third.url
    assert third.server
    await third.server.close()
    status, page = await until(first, f"{ALL}?limit=1000", lambda _, page: bool(page["outdated"]))
    assert (status, page["total"]) == (200, 40)
    assert {part["plugin"] for part in page["outdated"]} == {PLUGIN, "PU_Workload"}
    for part in page["outdated"]:
        assert (part["worker"], part["partitions"], part["as_of"]) == (url, [3], rfc3339(AT))
        assert part["problem"].startswith(f"no response from the worker at {url}")
    status, problem = await until(first, LINES, lambda status, _: status == 503)
    assert (status, url in problem["detail"]) == (503, True)
    # One that never had them says so.
    status, page = await second.get(f"{ALL}?limit=1000")
    assert (status, page["total"]) == (200, 40 - len(theirs))
    assert {part["as_of"] for part in page["outdated"]} == {None}
    # Another worker takes them over.
    assign([first, second], {0, 2}, {1, 3})
    for hostname in theirs:
        second.count(hostname, sample(61, ago=1))
    for worker in (first, second):
        status, page = await until(worker, f"{ALL}?limit=1000", lambda _, page: not page["outdated"])
        assert (page["outdated"], page["total"]) == ([], 40)
        assert {_last(page, hostname) for hostname in theirs} == {61}
        assert (await until(worker, LINES, lambda status, _: status == 200))[0] == 200


async def test_partitions_without_a_worker_are_missing(workers: list[InProcessWorker]) -> None:
    (first, *_) = workers
    first.group.urls = {partition: url for partition, url in first.group.urls.items() if partition != 1}
    status, page = await first.get(f"{ALL}?plugin={PLUGIN}")
    assert (status, page["outdated"]) == (
        200,
        [
            {
                "plugin": PLUGIN,
                "worker": None,
                "partitions": [1],
                "as_of": None,
                "problem": "no worker owns it at this moment",
            }
        ],
    )


def activity(hostname: str, seconds_ago: int, plugin: str = PLUGIN) -> HostActivity:
    at = AT - span(seconds_ago)
    return HostActivity(hostname, plugin, 3, at - span(9), at, at - span(9), at, span(60))


async def test_hosts_that_fell_silent_are_listed_and_the_worst_come_first(
    workers: list[InProcessWorker],
) -> None:
    record_activity(
        workers[0].engine,
        [
            activity("gone", 86_400),
            activity("host-00", 30),
            # Of another plugin only: the host is silent, although it sends temperatures.
            activity("host-02", 181, "PU_Workload"),
            activity("host-03", 179, "PU_Workload"),
            # SQL is a minute behind: it has sent another reading.
            activity("host-04", 190),
            activity("host-05", 30, "Fans"),
        ],
    )
    for worker in workers:
        status, page = await worker.get(f"{ALL}?sort=state&limit=1000")
        assert status == 200
        states = [each["state"] for each in page["hosts"]]
        order = ["silent", "critical", "warning", "ok"]
        assert states == sorted(states, key=order.index)
        by_host = {each["host"]: each for each in page["hosts"]}
        assert {host for host in by_host if by_host[host]["state"] == "silent"} == {"gone", "host-02"}
        assert by_host["gone"]["plugins"][PLUGIN] == {
            "state": "silent",
            "last_seen": rfc3339(AT - span(86_400)),
            "interval_seconds": 60,
            "config_id": 3,
            "headline": None,
        }
        assert set(by_host["host-02"]["plugins"]) == {PLUGIN, "PU_Workload"}
        assert set(by_host["host-05"]["plugins"]) == {PLUGIN}
        assert by_host["host-04"]["plugins"][PLUGIN]["last_seen"] == rfc3339(AT - span(20))
        assert page["states"] == {state: states.count(state) for state in order}
        _, page = await worker.get(f"{ALL}?state=silent&sort=last_seen")
        assert [each["host"] for each in page["hosts"]] == ["gone", "host-02"]
        assert page["states"] == {state: states.count(state) for state in order}
        _, page = await worker.get(f"{ALL}?plugin=PU_Workload&sort=-state")
        assert [each["host"] for each in page["hosts"]] == ["host-03", "host-02"]
        _, page = await worker.get(f"{ALL}?sort=-{PLUGIN}&limit=1000")
        lasts = [_last(page, host) for host in HOSTS]
        assert [each["host"] for each in page["hosts"]][:40] == sorted(
            HOSTS, key=lambda host: (-lasts[HOSTS.index(host)], host)
        )
        _, cells = await worker.get(f"/api/v1/plugins/{PLUGIN}/cells")
        assert cells["host"] == ["gone", *HOSTS]
        assert (cells["state"][0], cells["last"]) == ("silent", [None, *lasts])


async def test_a_host_falls_silent_when_its_time_is_over(workers: list[InProcessWorker]) -> None:
    (first, *_) = workers
    record_activity(first.engine, [activity("host-00", 30)])
    _, page = await first.get(f"{ALL}?search=host-00")
    assert page["hosts"][0]["state"] == "ok"
    # Three intervals after its reading of 20 seconds ago.
    first.app.clock._offset = NOW + 161
    first.app.clock._wall = FakeClock(NOW + 161)
    _, page = await until(
        first, f"{ALL}?search=host-00", lambda _, page: page["hosts"][0]["state"] == "silent"
    )
    assert page["hosts"][0]["state"] == "silent"


async def test_without_the_database_the_values_are_shown_and_the_problem_is_named(
    workers: list[InProcessWorker],
) -> None:
    (first, *_) = workers
    Host.__table__.drop(first.engine)
    status, page = await first.get(ALL)
    assert (status, page["total"]) == (200, 40)
    assert "sparkle_hosts" in page["problem"]


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
