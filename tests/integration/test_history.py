"""History over HTTP: merged and paged by the database, the same as from every row."""

import random
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from sqlalchemy import event

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.retention import Retention, Watermarks
from sparkle_app.model.time import micros, rfc3339
from sparkle_app.plugin.history import load_columns, load_page, load_steps
from sparkle_app.plugin_api import Plugin
from sparkle_app.retention.retainer import Retainer
from sparkle_app.storage.resolutions import Coverage, stored_resolutions
from sparkle_app.web.api import series
from tests.support.cluster import PLUGIN, InProcessWorker
from tests.support.database import EVERY_DATABASE
from tests.support.rows import store

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
START, MINUTE, HOUR, DAY = micros(BEGIN), 60_000_000, 3_600_000_000, 86_400_000_000
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


@EVERY_DATABASE
async def test_columns_have_the_values_of_the_points_in_a_fraction_of_the_bytes(
    worker: InProcessWorker,
) -> None:
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, aggregates())
    path = f"/api/v1/plugins/{PLUGIN}/hosts/web-1"
    query = "from=2026-11-23&to=2026-11-26&step=300"
    _, points = await worker.get(f"{path}/series?{query}")
    status, columns = await worker.get(f"{path}/columns?{query}")
    assert (status, columns["step_seconds"]) == (200, 300)
    assert columns["sources"] == [
        {"resolution_seconds": 60, "from": "2026-11-23T00:00:00Z", "to": "2026-11-26T00:00:00Z"}
    ]
    assert list(columns["series"]) == list(points["series"])
    for metric, found in columns["series"].items():
        expected = points["series"][metric]
        assert [rfc3339(at * 1_000_000) for at in found.pop("at")] == [each["at"] for each in expected]
        assert set(found) == {"average", "minimum", "maximum", "count"}
        for name, values in found.items():
            assert values == [each[name] for each in expected], name
    sizes = []
    for kind in ("series", "columns"):
        async with worker.http.get(f"{worker.url}{path}/{kind}?{query}") as response:
            sizes.append(len(await response.read()))
    assert sizes[1] < sizes[0] / 3
    status, two = await worker.get(
        f"{path}/columns?{query}&metric=core/0&metric=%D1%8F%D0%B4%D1%80%D0%BE&metric=none"
    )
    assert set(two["series"]) == {"core/0", "ядро"}
    _, points = await worker.get(f"{path}/series?{query}&metric=core/0&metric=core/1")
    assert set(points["series"]) == {"core/0", "core/1"}


async def test_the_server_chooses_a_usual_step(worker: InProcessWorker) -> None:
    path = f"/api/v1/plugins/{PLUGIN}/hosts/web-1/columns"
    for scope, step in [
        ("from=2026-11-23&to=2026-11-24&points=1000", 120),
        ("from=2026-11-23&to=2026-11-24&points=1440", 60),
        ("from=2026-10-23&to=2026-11-22&points=1000", 3600),
        ("from=2023-11-23&to=2026-11-23&points=1100", 86_400),
        ("from=2000-11-23&to=2026-11-23&points=10", 86_400 * 950),
    ]:
        status, found = await worker.get(f"{path}?{scope}")
        assert (status, found["step_seconds"] // 60 * 60) == (200, found["step_seconds"])
        assert abs(found["step_seconds"] - step) <= step * 0.001, scope
    status, problem = await worker.get(f"{path}?points=10&step=60")
    assert (status, problem["detail"].partition(":")[0]) == (400, "points")


def with_hours(rows: list[AggregateRow], start: int, end: int) -> list[AggregateRow]:
    """The aggregates of whole hours, of those of minutes that begin between start and end."""
    hours: dict[tuple[str, str, int], Statistics] = {}
    for row in rows:
        if row.resolution == 60 and start <= row.bucket_start < end:
            key = row.hostname, row.metric, row.bucket_start // HOUR * HOUR
            if key in hours:
                hours[key].merge(row.statistics)
            else:
                hours[key] = msgspec.structs.replace(row.statistics)
    return [
        AggregateRow(host, metric, 3600, at, statistics) for (host, metric, at), statistics in hours.items()
    ]


@EVERY_DATABASE
async def test_what_coarser_aggregates_have_is_read_from_them_and_the_rest_from_finer_ones(
    worker: InProcessWorker,
) -> None:
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    minutes = aggregates()
    # Hours exist from half past twelve on the first day until noon of the last; minutes only from then on.
    begin, end = START + 12 * HOUR + HOUR // 2, START + 2 * DAY + 12 * HOUR
    hours = with_hours(minutes, begin + HOUR // 2, end)
    kept = [row for row in minutes if not begin + HOUR // 2 <= row.bucket_start < end]
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, kept + hours)
        for step in (60, 1800, 3600, 2 * 3600, 86_400):
            stored = [Coverage(60, START, START + 3 * DAY), Coverage(3600, begin, end)]
            found = load_steps(
                plugin, connection, "web-1", ["core/0", "ядро"], stored, START, START + 3 * DAY, step, 10_000
            )
            expected_rows = minutes if step % 3600 == 0 else kept
            assert by_metric(found) == {
                metric: points
                for metric, points in expected(expected_rows, step, START + 3 * DAY).items()
                if metric != "core/1"
            }
            columns = load_columns(
                plugin, connection, "web-1", ["core/0", "ядро"], stored, START, START + 3 * DAY, step, 10_000
            )
            for metric, points in expected(expected_rows, step, START + 3 * DAY).items():
                if metric != "core/1":
                    assert [rfc3339(at * 1_000_000) for at in columns[metric].at] == [p["at"] for p in points]
                    assert columns[metric].average == [p["average"] for p in points]
                    assert columns[metric].maximum == [p["maximum"] for p in points]


def by_metric(rows: Iterable[AggregateRow]) -> dict[str, list[dict[str, Any]]]:
    """As the HTTP API returns them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row.bucket_start):
        point = msgspec.to_builtins(series.point(row.bucket_start, row.statistics))
        found.setdefault(row.metric, []).append(point)
    return found


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_a_series_is_read_by_an_index_and_no_more(worker: InProcessWorker) -> None:
    """EXPLAIN of the statement: no table is read whole, and the host, the metric and the time are in the index."""
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    one = Statistics(1, 1.0, 1.0, 1.0, 1.0, START)
    rows = [
        AggregateRow(f"host-{host}", f"core/{metric}", 60, START + at * MINUTE, one)
        # A database reads a small table of names whole.
        for host in range(300)
        for metric in range(8)
        for at in range(60 if host < 20 else 1)
    ]
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, rows)
        connection.exec_driver_sql("ANALYZE")
    executed: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        executed.append((statement, parameters))

    event.listen(worker.engine, "before_cursor_execute", note)
    path = f"/api/v1/plugins/{PLUGIN}/hosts/host-3/columns?from=2026-11-23T00:10:00Z&to=2026-11-23T00:20:00Z&step=120"
    for query in (path, f"{path}&metric=core/1&metric=core/2"):
        executed.clear()
        status, found = await worker.get(query)
        assert (status, {len(each["at"]) for each in found["series"].values()}) == (200, {5})
        event.remove(worker.engine, "before_cursor_execute", note)
        with worker.engine.connect() as connection:
            plans = [plan_of(connection, *each) for each in executed if "SELECT" in each[0]]
        event.listen(worker.engine, "before_cursor_execute", note)
        # First the watermarks, a few rows.
        _, plan = plans
        assert "Seq Scan" not in plan
        assert "SCAN temperature" not in plan
        assert "SCAN sparkle" not in plan
        assert "Index" in plan or "INDEX" in plan or "PRIMARY KEY" in plan, plan


def plan_of(connection: Any, statement: str, parameters: Any) -> str:
    """How the database executes a statement."""
    explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    return "\n".join(str(row) for row in connection.exec_driver_sql(f"{explain} {statement}", parameters))


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
        scope = (
            "web-1",
            None,
            stored_resolutions(Watermarks(60, {}), START, START + 2 * DAY),
            START,
            START + 2 * DAY,
            3600,
        )
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


@EVERY_DATABASE
async def test_what_has_expired_is_read_from_hours_and_days(worker: InProcessWorker) -> None:
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    rows = aggregates()
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, rows)
    kept = Retention(None, 86_400, 2 * 86_400, None)
    list(Retainer(PLUGIN, plugin, worker.engine, 60, kept).run(START + 3 * DAY + HOUR))
    path = f"/api/v1/plugins/{PLUGIN}/hosts/web-1/series?from=2026-11-23&to=2026-11-26"
    for step in (86_400, 2 * 86_400):
        status, body = await worker.get(f"{path}&step={step}")
        assert (status, body["series"]) == (200, expected(rows, step, START + 4 * DAY))
    # Days for ever, hours since the 24th, minutes since the 25th.
    status, problem = await worker.get(f"{path}&step=1h")
    assert (status, problem["detail"]) == (
        400,
        "step: expected a multiple of 86400 s, as aggregates of 60 s are kept since 2026-11-25T00:00:00Z, found 3600",
    )
    status, body = await worker.get(path)
    assert (status, body["step_seconds"]) == (200, 86_400)
    path = path.replace("11-23", "11-24").replace("/series", "/columns")
    status, body = await worker.get(f"{path}&points=1000")
    assert (status, body["step_seconds"]) == (200, 3600)
    assert body["sources"] == [
        {"resolution_seconds": 3600, "from": "2026-11-24T00:00:00Z", "to": "2026-11-26T00:00:00Z"}
    ]
    status, body = await worker.get(path.replace("11-24", "11-25"))
    assert (status, body["step_seconds"]) == (200, 60)


async def test_a_series_has_a_bounded_number_of_points(
    worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, aggregates())
    path = f"/api/v1/plugins/{PLUGIN}/hosts/web-1/series?from=2026-11-23&to=2026-11-26&step=24h"
    monkeypatch.setattr(series, "MAX_POINTS_OF_ALL", 9)
    assert (await worker.get(path))[0] == 200
    monkeypatch.setattr(series, "MAX_POINTS_OF_ALL", 8)
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
    stored = stored_resolutions(Watermarks(60, {}), START, START + DAY)
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, rows)
        found = {
            row.metric: row.statistics
            for row in load_steps(plugin, connection, "web-1", None, stored, START, START + DAY, 3600, 10)
        }
    assert (found["huge"].as_row().sum, found["huge"].average) == (float("inf"), huge)
    assert (found["both"].sum, found["both"].minimum) == (1.0, -huge)
    assert found["small"].sum == 3 * small
    path = f"/api/v1/plugins/{PLUGIN}/hosts/web-1/series?from=2026-11-23&to=2026-11-24&step=1h"
    status, body = await worker.get(path)
    assert status == 200
    assert body["series"]["both"][0]["average"] == 1 / 3
    assert body["series"]["huge"][0]["average"] == huge
    status, body = await worker.get(path.replace("/series", "/columns"))
    assert {metric: each["average"] for metric, each in body["series"].items()} == {
        "both": [1 / 3],
        "huge": [huge],
        "small": [small],
    }


@EVERY_DATABASE
async def test_each_reading_is_on_one_page_and_a_page_loads_no_more_rows_than_it_has(
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
    # The others find the time of a page's first row; the one more that there is no other page.
    first_rows = [each for each in executed.queries if each.startswith("SELECT min(")]
    watermarks = [each for each in executed.queries if "sparkle_retention" in each]
    pages = [each for each in executed.queries if each not in first_rows and each not in watermarks]
    assert (len(pages), len(first_rows), len(watermarks)) == (10, 11, 10)
    assert all("LIMIT" in statement for statement in pages)


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
