"""/metrics/hosts in Prometheus' text format."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sparkle_app.model.sample import Sample
from sparkle_app.model.time import from_seconds
from sparkle_app.plugin.panel import Panel
from sparkle_app.runtime.clock import WallClock
from sparkle_app.web.host_metrics import metric_names, scale_of
from tests.support.cluster import PARTITIONS, PLUGIN, InProcessWorker, assign
from tests.support.fake_clock import FakeClock

NOW = 1_800_000_030.0


def sample(value: float, ago: float, metric: str) -> Sample:
    return Sample(f"{value}{ago}{metric}".encode()[:8], metric, value, from_seconds(NOW - ago))


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[InProcessWorker]:
    worker = InProcessWorker(tmp_path / "worker")
    worker.app.clock = WallClock(FakeClock(NOW), FakeClock(0.0))
    await worker.start()
    assign([worker], set(range(PARTITIONS)))
    yield worker
    await worker.stop()


async def scrape(worker: InProcessWorker) -> dict[tuple[str, str, str], float]:
    """Value by name, host and metric."""
    async with worker.http.get(f"{worker.url}/metrics/hosts") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        text = await response.text()
    return {
        (each.name, each.labels["host"], each.labels["metric"]): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


async def test_the_last_values_of_five_minutes_are_exposed(worker: InProcessWorker) -> None:
    hostile = 'a"b\\c\nd{}'
    worker.count("web-1", sample(40, 200, "core/0"), sample(41.5, 20, "core/0"), sample(30, 299, "gpu"))
    worker.count("web-1", sample(99, 301, "old"))
    worker.count(hostile, sample(-3, 1, "ядро"))
    worker.count("quiet", sample(50, 3000, "core/0"))
    name = "sparkle_temperature_celsius"
    expected = {
        (name, "web-1", "core/0"): 41.5,
        (name, "web-1", "gpu"): 30,
        (name, hostile, "ядро"): -3,
    }
    assert await scrape(worker) == expected
    worker.count("web-1", sample(42, 10, "core/0"))
    assert await scrape(worker) == expected | {(name, "web-1", "core/0"): 42}
    # Another worker takes them over.
    assign([worker], set())
    worker.table.data.clear()
    worker.table._starts.clear()
    assert await scrape(worker) == {}


async def test_the_name_says_the_base_unit_only_if_it_is_the_unit(worker: InProcessWorker) -> None:
    plugins = dict(worker.app.plugins.installed)
    assert metric_names(plugins) == {
        "Temperature": "sparkle_temperature_celsius",
        "PU_Workload": "sparkle_pu_workload_ratio",
    }
    assert scale_of(plugins["PU_Workload"]) == 0.01
    plain = msgspec.structs.replace(plugins[PLUGIN].panel, quantity="power")
    vars(plugins[PLUGIN])["panel"], own = plain, plugins[PLUGIN].panel
    try:
        # The unit is °C.
        assert metric_names({PLUGIN: plugins[PLUGIN]}) == {PLUGIN: "sparkle_temperature"}
        vars(plugins[PLUGIN])["panel"] = Panel()
        both = metric_names({"Fan Speed": plugins[PLUGIN], "fan-speed": plugins[PLUGIN]})
        assert both["Fan Speed"] == "sparkle_fan_speed"
        assert both["fan-speed"].startswith("sparkle_fan_speed_")
        vars(plugins[PLUGIN])["panel"] = own
        alike = metric_names({PLUGIN: plugins[PLUGIN], "Temperature Celsius": plugins[PLUGIN]})
        assert alike[PLUGIN] == "sparkle_temperature_celsius"
        assert re.fullmatch("sparkle_temperature_celsius_[0-9a-f]{8}_celsius", alike["Temperature Celsius"])
        vars(plugins[PLUGIN])["panel"] = Panel()
        assert len(set(metric_names({"温度": plugins[PLUGIN], "速度": plugins[PLUGIN]}).values())) == 2
    finally:
        vars(plugins[PLUGIN])["panel"] = own
