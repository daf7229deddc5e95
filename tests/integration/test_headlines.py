"""The headline of many hosts over time: what the database merges is what follows from every row."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.time import LATEST, from_seconds, rfc3339
from sparkle_app.plugin.headlines import Averages, load_headlines
from sparkle_app.plugin.history import load_steps
from sparkle_app.plugin.panel import Headline
from sparkle_app.runtime.clock import WallClock
from sparkle_app.storage.hosts import record_activity
from sparkle_app.storage.resolutions import Coverage
from sparkle_app.web.api import headlines
from tests.support.cluster import PARTITIONS, PLUGIN, InProcessWorker, assign
from tests.support.database import EVERY_DATABASE
from tests.support.fake_clock import FakeClock
from tests.support.rows import store

START, MINUTE = from_seconds(1_764_000_000), 60_000_000
HOSTS = ("Web-1", "web-1", "хост")
PATH = f"/api/v1/plugins/{PLUGIN}/headlines"


@pytest.fixture
async def worker(tmp_path: Path, database_url: str) -> AsyncIterator[InProcessWorker]:
    store(database_url, [])
    worker = InProcessWorker(tmp_path / "worker", f"database: {{url: '{database_url}'}}")
    worker.app.clock = WallClock(FakeClock(START / 1e6 + 3600), FakeClock(0.0))
    await worker.start()
    assign([worker], set(range(PARTITIONS)))
    with worker.engine.begin() as connection:
        worker.app.plugins.installed[PLUGIN].plugin.store_aggregates(connection, aggregates())
    times = (START,) * 2 + (START + 3500 * 1_000_000,) * 2
    record_activity(worker.engine, [HostActivity(host, PLUGIN, 1, *times) for host in HOSTS], LATEST)
    yield worker
    await worker.stop()


def row(host: str, metric: str, minute: int, count: int, total: float, resolution: int = 60) -> AggregateRow:
    at = START + minute * MINUTE
    return AggregateRow(host, metric, resolution, at, Statistics(count, total, -9.0, 99.0, 1.0, at))


def aggregates() -> list[AggregateRow]:
    """An hour; quarters, whose sums are exact in any order. Only one host has the metric "total"."""
    chance = random.Random(2)
    rows = []
    for host in HOSTS:
        for metric in ("core/0", "core/1", *(["total", "Total"] if host == "хост" else [])):
            for minute in chance.sample(range(60), 25):
                rows.append(row(host, metric, minute, 2 ** chance.randrange(4), chance.randrange(400) / 4))
    # In another step than the others, or outside of the range, or of another bucket size.
    large = row("web-1", "core/9", 3, 1, 1.5e308), row("web-1", "core/9", 4, 1, 1.5e308)
    return [*rows, *large, row("other", "core/0", 3, 1, 5.0), row("Web-1", "core/0", 0, 1, 5e6, 300)]


def expected(headline: Headline, step: int) -> Averages:
    """Computed from every row."""
    best = max if headline.statistic == "maximum" else min
    sums: dict[tuple[str, str, int], list[tuple[float, int]]] = {}
    for each in aggregates():
        if each.resolution == 60 and each.hostname in HOSTS:
            at = each.bucket_start - each.bucket_start % (step * 1_000_000)
            sums.setdefault((each.hostname, each.metric, at), []).append(
                (each.statistics.sum, each.statistics.count)
            )
    found: Averages = {host: {} for host in HOSTS}
    for host in HOSTS:
        names = {name for other, name, _ in sums if other == host}
        named = {headline.metric} & names or names
        for (other, name, at), parts in sums.items():
            if other == host and name in named:
                found[host].setdefault(at, None)
                if max(total for total, _ in parts) < 1e300:
                    average = sum(total for total, _ in parts) / sum(count for _, count in parts)
                    before = found[host][at]
                    found[host][at] = average if before is None else best(before, average)
    return found


@EVERY_DATABASE
@pytest.mark.parametrize("headline", [Headline(), Headline("total"), Headline("core/1", "minimum")], ids=str)
async def test_the_database_finds_the_headlines_of_all_hosts(
    worker: InProcessWorker, headline: Headline
) -> None:
    plugin = worker.app.plugins.installed[PLUGIN].plugin

    class Own(type(plugin)):  # type: ignore[misc] # a class that is known at run time
        def load_aggregates(self, *arguments: Any) -> Any:
            return super().load_aggregates(*arguments)

    for step in (60, 600, 3600):
        start, end = START - START % (step * 1_000_000), START + 3600 * 1_000_000
        stored = [Coverage(60, start, end)]
        with worker.engine.connect() as connection:
            for each in (plugin, Own()):
                found = load_headlines(each, headline, connection, HOSTS, stored, start, end, step)
                assert found == expected(headline, step), (step, each)


@EVERY_DATABASE
@pytest.mark.parametrize(
    "headline",
    [Headline(), Headline("core/1"), Headline(None, "minimum"), Headline("core/1", "minimum")],
    ids=str,
)
async def test_a_step_of_two_resolutions_has_the_average_of_both(
    worker: InProcessWorker, headline: Headline
) -> None:
    """Of the second step, five hours are merged already, and a minute is not."""
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    hour, step = 60 * MINUTE, 12 * 3600
    begin = START - START % from_seconds(step) - 2 * from_seconds(step)
    second, end = begin + from_seconds(step), begin + 2 * from_seconds(step)
    merged = second + 5 * hour
    values = {"core/0": (10.0, 90.0), "core/1": (10.0, -90.0), "old": (20.0, None), "new": (None, 30.0)}
    rows = []
    for metric, (early, late) in values.items():
        hours = [] if early is None else [(at, 3600, 64, early) for at in range(begin, merged, hour)]
        minutes = [] if late is None else [(merged, 60, 1, late)]
        for at, resolution, count, value in hours + minutes:
            statistics = Statistics(count, count * value, value, value, value, at)
            rows.append(AggregateRow("web-1", metric, resolution, at, statistics))

    class Own(type(plugin)):  # type: ignore[misc] # a class that is known at run time
        def load_aggregates(self, *arguments: Any) -> Any:
            return super().load_aggregates(*arguments)

    stored = [Coverage(60, begin, end), Coverage(3600, begin, merged)]
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, rows)
        scope = (stored, begin, end, step)
        steps = load_steps(plugin, connection, "web-1", None, *scope, 100)
        averages: dict[int, dict[str, float]] = {begin: {}, second: {}}
        for row in steps:
            averages[row.bucket_start][row.metric] = row.statistics.average
        assert averages[second]["core/0"] == (5 * 64 * 10 + 90) / (5 * 64 + 1)
        best = max if headline.statistic == "maximum" else min
        right = {
            at: of_step[headline.metric] if headline.metric else best(of_step.values())
            for at, of_step in averages.items()
        }
        for each in (plugin, Own()):
            found = load_headlines(each, headline, connection, HOSTS, *scope)
            assert found == {"web-1": right, "Web-1": {}, "хост": {}}, each


async def test_the_rows_of_a_plugin_are_not_changed(worker: InProcessWorker) -> None:
    kept = [
        AggregateRow("web-1", "core/0", 60, START + n * MINUTE, Statistics.of(n, START)) for n in range(3)
    ]

    class Own(type(worker.app.plugins.installed[PLUGIN].plugin)):  # type: ignore[misc] # known at run time
        def load_aggregates(self, *arguments: Any) -> Any:
            return kept

    begin, end = START - START % (60 * MINUTE), START + 60 * MINUTE
    with worker.engine.connect() as connection:
        scope = (connection, ["web-1"], [Coverage(60, begin, end)], begin, end, 3600)
        assert load_headlines(Own(), Headline(), *scope) == {"web-1": {begin: 1.0}}
    assert [each.statistics.count for each in kept] == [1, 1, 1]


async def test_nothing_stored_is_no_headline(worker: InProcessWorker) -> None:
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    with worker.engine.connect() as connection:
        found = load_headlines(plugin, Headline(), connection, HOSTS, [], START, START + 60 * MINUTE, 60)
    assert found == {host: {} for host in HOSTS}


async def test_a_page_of_hosts_has_a_value_for_each_step(worker: InProcessWorker) -> None:
    status, found = await worker.get(f"{PATH}?from=2025-11-24T16:00:00Z&to=2025-11-24T17:00:00Z&points=12")
    assert status == 200, found
    assert (found["step_seconds"], found["from"], found["unit"]) == (300, "2025-11-24T16:00:00Z", "°C")
    assert (found["host"], found["total"]) == (sorted(HOSTS), 3)
    averages = expected(Headline(), 300)
    begin = START - START % (3600 * 1_000_000)
    assert found["average"] == [
        [averages[host].get(begin + number * 300_000_000) for number in range(12)] for host in found["host"]
    ]
    status, found = await worker.get(f"{PATH}?limit=1&offset=1&sort=-host&points=60")
    assert (status, found["host"], found["step_seconds"]) == (200, ["web-1"], 60)
    status, found = await worker.get(f"{PATH}?search=none")
    assert (status, found["host"], found["average"], found["total"]) == (200, [], [], 0)


async def test_a_page_has_those_hosts_of_the_overview_that_have_the_plugin(worker: InProcessWorker) -> None:
    """Two have been silent for an hour, by their load: one of them has no temperature."""
    now = START + 3600 * 1_000_000
    record_activity(worker.engine, [HostActivity(host, PLUGIN, 1, *(now,) * 4) for host in HOSTS], LATEST)
    silent = [HostActivity(host, "PU_Workload", 1, *(START,) * 4) for host in ("b", "web-1")]
    record_activity(worker.engine, silent, LATEST)
    _, page = await worker.get("/api/v1/overview?sort=state")
    assert [(each["host"], each["state"]) for each in page["hosts"]] == [
        ("b", "silent"),
        ("web-1", "silent"),
        ("Web-1", "unknown"),
        ("хост", "unknown"),
    ]
    for query, hosts, total in [
        ("sort=state&limit=2", ["web-1"], 4),
        ("sort=state&limit=2&offset=2", ["Web-1", "хост"], 4),
        ("sort=host&limit=1&offset=1", [], 4),
        ("state=silent", ["web-1"], 2),
    ]:
        status, found = await worker.get(f"{PATH}?{query}")
        assert (status, found["host"], found["total"], len(found["average"])) == (
            200,
            hosts,
            total,
            len(hosts),
        )
    _, cells = await worker.get(f"/api/v1/plugins/{PLUGIN}/cells")
    assert (cells["host"], cells["state"]) == (sorted(HOSTS), ["unknown"] * 3)
    assert cells["host_state"] == ["unknown", "silent", "unknown"]


async def test_who_joins_a_running_query_learns_when_it_began(
    worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([START, START + 9_000_000])
    monkeypatch.setattr(headlines, "current_time", lambda _: next(times))
    began, goes_on = threading.Event(), threading.Event()

    def waiting(*arguments: Any) -> Averages:
        began.set()
        assert goes_on.wait(20)
        return load_headlines(*arguments)

    monkeypatch.setattr(headlines, "load_headlines", waiting)
    path = f"{PATH}?from=2025-11-24T16:00:00Z&to=2025-11-24T17:00:00Z"
    first = asyncio.create_task(worker.get(path))
    assert await asyncio.to_thread(began.wait, 20)
    second = asyncio.create_task(worker.get(path))
    await asyncio.sleep(0.5)
    goes_on.set()
    found = [body["made_at"] for status, body in await asyncio.gather(first, second)]
    assert found == [rfc3339(START)] * 2


async def test_a_query_is_bounded(worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    for query, where in [("points=101", "points"), ("limit=101", "limit")]:
        status, problem = await worker.get(f"{PATH}?{query}")
        assert (status, problem["detail"].partition(":")[0]) == (400, where)
    monkeypatch.setattr(headlines, "MAX_BUCKETS", 3 * 61)
    assert (await worker.get(PATH))[0] == 200
    status, problem = await worker.get(f"{PATH}?from=2025-11-24T15:00:00Z")
    assert status == 400
    assert "from: expected at most 183 stored buckets of all hosts, found " in problem["detail"]
    assert problem["limit"] == "buckets"
