"""History over HTTP: merged and paged by the database, the same as from every row."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import event

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.time import micros, rfc3339
from sparkle_app.plugin.history import load_page, load_steps
from sparkle_app.plugin_api import Plugin
from sparkle_app.web.api import history
from tests.support.cluster import PLUGIN, InProcessWorker
from tests.support.database import EVERY_DATABASE
from tests.support.rows import store

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
START, MINUTE, DAY = micros(BEGIN), 60_000_000, 86_400_000_000
HOSTS = ("web-1", "web-2")


class Statements:
    """The queries of an engine."""

    def __init__(self, engine: Any) -> None:
        self.queries: list[str] = []
        event.listen(engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "SELECT" in statement:
            self.queries.append(statement)


@pytest.fixture
async def worker(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[InProcessWorker]:
    monkeypatch.setattr(web.RequestHandler, "handle_error", web.RequestHandler.handle_error)
    store(database_url, [])
    worker = InProcessWorker(tmp_path / "worker", f"database: {{url: '{database_url}'}}")
    await worker.start()
    yield worker
    await worker.stop()


def aggregates() -> list[AggregateRow]:
    """Three days; quarters, whose sums are exact in any order."""
    chance = random.Random(1)
    rows = []
    for hostname in HOSTS:
        for metric in ("core/0", "core/1", "ядро"):
            for at in sorted(chance.sample(range(3 * 1440), 400)):
                low, high, last = sorted(chance.randrange(-400, 400) / 4 for _ in range(3))
                count, start = chance.randrange(1, 9), START + at * MINUTE
                last_at = start + chance.randrange(MINUTE)
                statistics = Statistics(count, low + high, low, high, last, last_at)
                rows.append(AggregateRow(hostname, metric, 60, start, statistics))
    # Of another bucket size.
    rows.append(AggregateRow("web-1", "core/0", 300, START, Statistics(100, 1.0, 1.0, 1.0, 1.0, START)))
    return rows


def expected(rows: list[AggregateRow], step: int, end: int) -> dict[str, list[dict[str, Any]]]:
    """The series of web-1, merged row by row."""
    merged: dict[str, dict[int, list[AggregateRow]]] = {}
    for row in rows:
        if row.hostname == "web-1" and row.resolution == 60 and row.bucket_start < end:
            at = row.bucket_start - row.bucket_start % (step * 1_000_000)
            merged.setdefault(row.metric, {}).setdefault(at, []).append(row)
    return {
        metric: [
            {
                "at": rfc3339(at),
                "count": sum(each.statistics.count for each in found),
                "average": sum(each.statistics.sum for each in found)
                / sum(each.statistics.count for each in found),
                "minimum": min(each.statistics.minimum for each in found),
                "maximum": max(each.statistics.maximum for each in found),
                "last": max(found, key=lambda each: each.bucket_start).statistics.last,
                "last_at": rfc3339(max(each.statistics.last_at for each in found)),
            }
            for at, found in sorted(steps.items())
        ]
        for metric, steps in merged.items()
    }


@EVERY_DATABASE
@pytest.mark.parametrize("step", [60, 420, 3600, 86_400])
async def test_the_database_merges_a_series_exactly(worker: InProcessWorker, step: int) -> None:
    rows = aggregates()
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, rows)
    query = f"from=2026-11-23&to=2026-11-25T12:00:00Z&step={step}"
    status, found = await worker.get(f"/api/v1/plugins/{PLUGIN}/hosts/web-1/series?{query}")
    width = step * 1_000_000
    end = -(-micros(BEGIN + timedelta(days=2, hours=12)) // width) * width
    assert status == 200
    assert found["series"] == expected(rows, step, end)
    assert list(found["series"]) == sorted(found["series"])
    status, one = await worker.get(f"/api/v1/plugins/{PLUGIN}/hosts/web-1/series?{query}&metric=core/1")
    assert one["series"] == {"core/1": found["series"]["core/1"]}


async def test_a_plugin_with_tables_of_its_own_gives_the_same(worker: InProcessWorker) -> None:
    """From its own load_aggregates and load_readings, which order by time only."""
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    chance = random.Random(2)

    class Own(type(plugin)):  # type: ignore[misc]
        def load_aggregates(self, *arguments: Any) -> Any:
            return Plugin.load_aggregates(self, *arguments)

        def load_readings(self, *arguments: Any, **limit: Any) -> Any:
            rows = list(Plugin.load_readings(self, *arguments))
            chance.shuffle(rows)
            return sorted(rows, key=lambda row: row.observed_at)[: limit.get("limit")]

    times = [BEGIN + timedelta(seconds=chance.choice((0, 5, 5, 5, 9, 30 + n))) for n in range(40)]
    store(str(worker.engine.url.render_as_string(hide_password=False)), [("h", "m", 1.0, at) for at in times])
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, aggregates())
        scope = ("web-1", None, 60, START, START + 2 * DAY, 3600)
        by_key = {
            each: sorted(
                load_steps(each, connection, *scope, 1000), key=lambda row: (row.metric, row.bucket_start)
            )
            for each in (plugin, Own())
        }
        first, second = by_key.values()
        assert first == second
        assert len(first) > 100
        assert [len(list(load_steps(each, connection, *scope, 10))) for each in by_key] == [10, 10]
        for limit in (1, 2, 7, 100):
            pages: list[list[bytes]] = []
            for each in by_key:
                after, found = None, []
                while page := list(load_page(each, connection, "h", START, START + DAY, limit, after)):
                    assert len(page) <= limit
                    found += [row.id for row in page]
                    after = page[-1].observed_at, page[-1].id
                pages.append(found)
            assert pages[0] == pages[1]
            assert len(set(pages[0])) == len(times)


async def test_a_series_has_a_bounded_number_of_points(
    worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, aggregates())
    path = f"/api/v1/plugins/{PLUGIN}/hosts/web-1/series?from=2026-11-23&to=2026-11-26&step=24h"
    monkeypatch.setattr(history, "MAX_POINTS_OF_ALL", 9)
    assert (await worker.get(path))[0] == 200
    monkeypatch.setattr(history, "MAX_POINTS_OF_ALL", 8)
    status, problem = await worker.get(path)
    assert (status, problem["detail"].partition(":")[0]) == (400, "step")
    assert "at most 8 points" in problem["detail"]
    assert (await worker.get(f"{path}&metric=core/0"))[0] == 200


@EVERY_DATABASE
async def test_sums_beyond_the_range_of_a_double_cost_their_metric_only(worker: InProcessWorker) -> None:
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    huge, small = 1.5e308, 5e-324
    rows = [
        AggregateRow(
            "web-1", metric, 60, START + n * MINUTE, Statistics(1, value, value, value, value, START)
        )
        for metric, values in {"huge": [huge] * 3, "both": [huge, -huge, 1.0], "small": [small] * 3}.items()
        for n, value in enumerate(values)
    ]
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, rows)
        found = {
            row.metric: row.statistics
            for row in load_steps(plugin, connection, "web-1", None, 60, START, START + DAY, 3600, 10)
        }
    assert (found["huge"].as_row().sum, found["huge"].average) == (float("inf"), huge)
    assert (found["both"].sum, found["both"].minimum) == (1.0, -huge)
    assert found["small"].sum == 3 * small
    path = f"/api/v1/plugins/{PLUGIN}/hosts/web-1/series?from=2026-11-23&to=2026-11-24&step=1h"
    status, body = await worker.get(path)
    assert status == 200
    assert body["series"]["both"][0]["average"] == 1 / 3
    assert body["series"]["huge"][0]["average"] == huge


@EVERY_DATABASE
async def test_each_reading_is_on_one_page_and_a_page_reads_no_more_rows_than_it_has(
    worker: InProcessWorker, database_url: str
) -> None:
    # Most at the same time, as of a host whose clock stands.
    times = [BEGIN + timedelta(seconds=max(0, n - 50)) for n in range(70)]
    store(database_url, [("web-1", f"m{n}", float(n), at) for n, at in enumerate(times)])
    store(database_url, [("web-2", "other", 0.0, at) for at in times])
    path = f"/api/v1/plugins/{PLUGIN}/hosts/web-1/readings?from=2026-11-23&to=2026-11-24"
    executed = Statements(worker.engine)
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        status, page = await worker.get(f"{path}&limit=7{after}")
        assert status == 200
        found += page["readings"]
        if page["next"] is None:
            break
        assert len(page["readings"]) == 7
        after = f"&after={page['next']}"
    assert [each["observed_at"] for each in found] == [rfc3339(micros(at)) for at in times]
    assert {each["metric"] for each in found} == {f"m{n}" for n in range(70)}
    assert len(executed.queries) == 10
    assert all("LIMIT" in statement for statement in executed.queries)


async def test_a_forged_cursor_is_refused_or_a_position_like_any_other(
    worker: InProcessWorker, database_url: str
) -> None:
    store(database_url, [("web-1", f"m{n}", 1.0, BEGIN + timedelta(seconds=n)) for n in range(5)])
    path = f"/api/v1/plugins/{PLUGIN}/hosts/web-1/readings?from=2026-11-23&to=2026-11-24&limit=2"
    status, problem = await worker.get(f"{path}&after={START}-999999")
    assert (status, problem["detail"].startswith("after: expected the `next` value")) == (400, True)
    for at, metrics in [
        (START - DAY, ["m0", "m1"]),
        (START, ["m1", "m2"]),
        (START + 3_500_000, ["m4"]),
        (START + 2 * DAY, []),
    ]:
        status, page = await worker.get(f"{path}&after={at}-{'f' * 32}")
        assert (status, [each["metric"] for each in page["readings"]]) == (200, metrics)
