"""Series over HTTP: merged by the database, the same as from every row."""

import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.retention import Watermarks
from sparkle_app.model.time import micros, rfc3339, span
from sparkle_app.plugin.history import Columns, load_page, load_steps
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.resolutions import stored_resolutions
from sparkle_app.web.api import columns, series_query
from tests.support.cluster import PLUGIN, InProcessWorker
from tests.support.database import EVERY_DATABASE
from tests.support.history import BEGIN, DAY, MINUTE, START, aggregates, expected
from tests.support.rows import store


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


@EVERY_DATABASE
async def test_columns_say_which_steps_were_filled_late(
    worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reading(host: str, metric: str, minute: float) -> tuple[str, str, float, datetime]:
        return host, metric, 1.0, BEGIN + timedelta(minutes=minute)

    def store_late(seconds: float, *readings: tuple[str, str, float, datetime]) -> None:
        url = worker.engine.url.render_as_string(hide_password=False)
        store(url, readings, timedelta(seconds=seconds))

    plugin = worker.app.plugins.installed[PLUGIN].plugin

    def aggregate(minute: int, **counts: int) -> None:
        """Of two metrics."""
        at = START + span(60 * minute)
        rows = [
            AggregateRow("web-1", metric.replace("_", "/"), 60, at, Statistics(count, 1.0, 1.0, 1.0, 1.0, at))
            for metric, count in counts.items()
        ]
        with worker.engine.begin() as connection:
            plugin.store_aggregates(connection, rows)

    store_late(10_800.5, reading("web-1", "core/0", 10), reading("web-1", "core/0", 11))
    store_late(300, reading("web-1", "core/0", 11.5), reading("web-1", "ядро", 1439.5))
    # In time, of another host, and not in the range.
    store_late(60.9, reading("web-1", "core/0", 30), reading("web-1", "ядро", 30))
    store_late(300, reading("web-2", "core/0", 10), reading("web-1", "core/0", 1440))
    # Late, but in an hour that was not over.
    store_late(65, reading("web-1", "core/1", 57.75))
    # Before its time: the clock of the host was ahead.
    store_late(-300, reading("web-1", "core/1", 7))
    path = f"/api/v1/plugins/{PLUGIN}/hosts/web-1/columns?from=2026-11-23&to=2026-11-24"
    start = int(BEGIN.timestamp())

    async def late(query: str) -> Any:
        status, found = await worker.get(f"{path}&{query}")
        assert status == 200, found
        return found["late"]

    # Without an aggregate, there are no steps: readings are not looked at.
    assert await late("step=60&late=true") is None
    aggregate(70, core_0=1)
    assert await late("step=60&late=true") == {
        "core/0": {"at": [start + 600, start + 660], "count": [1, 2], "delay_seconds": [10_800, 10_800]},
        "core/1": {"at": [start + 57 * 60], "count": [1], "delay_seconds": [65]},
        "ядро": {"at": [start + 1439 * 60], "count": [1], "delay_seconds": [300]},
    }
    by_hour = {
        "core/0": {"at": [start], "count": [2], "delay_seconds": [10_800]},
        "ядро": {"at": [start + 23 * 3600], "count": [1], "delay_seconds": [300]},
    }
    assert await late("step=3600&late=true") == by_hour
    assert await late("step=3600&late=true&metric=core/0") == {"core/0": by_hour["core/0"]}
    assert await late("step=3600") is None
    # The range has eight readings, whatever the aggregates say.
    for limit, found in ((8, by_hour), (7, None)):
        monkeypatch.setattr(columns, "MAX_LATE_READINGS", limit)
        assert await late("step=3600&late=true") == found
    aggregate(60, core_0=5, core_1=5)
    for limit, found in ((11, by_hour), (10, None)):
        monkeypatch.setattr(columns, "MAX_LATE_READINGS", limit)
        assert await late("step=3600&late=true") == found


def test_readings_of_a_step_that_is_kept_in_part_are_counted() -> None:
    points = {"m": Columns([0, 3600, 7200], [1.0] * 3, [1.0] * 3, [1.0] * 3, [1, 10, 100])}
    found = [columns._count(points, span(start), 3600) for start in (0, 3600, 3601, 7199, 7200, 10_800)]
    assert found == [111, 110, 110, 110, 100, 0]


async def test_late_readings_are_not_looked_for_if_there_are_too_many_points(
    worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, aggregates())
    monkeypatch.setattr(series_query, "MAX_POINTS_OF_ALL", 100)

    def never(*_: Any) -> None:
        raise AssertionError("the counts are those of some points only")

    monkeypatch.setattr(columns, "load_late", never)
    path = f"/api/v1/plugins/{PLUGIN}/hosts/web-1/columns?from=2026-11-23&to=2026-11-24&step=60&late=true"
    status, problem = await worker.get(path)
    assert (status, problem["detail"].partition(":")[0]) == (400, "step")


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


async def test_a_series_has_a_bounded_number_of_points(
    worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = worker.app.plugins.installed[PLUGIN].plugin
    with worker.engine.begin() as connection:
        plugin.store_aggregates(connection, aggregates())
    path = f"/api/v1/plugins/{PLUGIN}/hosts/web-1/series?from=2026-11-23&to=2026-11-26&step=24h"
    monkeypatch.setattr(series_query, "MAX_POINTS_OF_ALL", 9)
    assert (await worker.get(path))[0] == 200
    monkeypatch.setattr(series_query, "MAX_POINTS_OF_ALL", 8)
    status, problem = await worker.get(path)
    assert (status, problem["detail"].partition(":")[0]) == (400, "step")
    assert "at most 8 points" in problem["detail"]
    assert problem["limit"] == "points"
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
