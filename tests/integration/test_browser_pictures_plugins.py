"""The pictures of the guide for authors of plugins: what the page shows of its examples.

``make pictures`` writes them to docs/images.
"""

import math
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.integration.conftest import Visit
from tests.support.broker import Broker
from tests.support.eventually import eventually
from tests.support.fleet import Fleet
from tests.support.guide import GUIDE, add_package, files_of_guide
from tests.support.host_history import add_plugin
from tests.support.host_page import host_path
from tests.support.pictures import take

pytestmark = pytest.mark.any_broker

HOST = "db-01"
START = datetime(2026, 3, 10, 6, tzinfo=UTC).timestamp()
HOURS = 6
MINUTES = 5
STEPS = HOURS * 60 // MINUTES
SPEEDS = {"nct6775/CPU": 2900, "nct6775/Rear": 1400, "amdgpu/Fan": 1900}
STATES = {"md0": [(0, "clean")], "md1": [(0, "clean"), (20, "degraded"), (31, "recovering"), (55, "clean")]}
"""The strings, and the steps from which on they are sent."""


def readings() -> Iterator[tuple[float, str, str, dict[str, object]]]:
    """One fan becomes slow, one array fails and recovers."""
    chance = random.Random(5)
    for step in range(STEPS):
        at = START + step * MINUTES * 60
        for name, usual in SPEEDS.items():
            slow = max(0.05, 1 - max(0, step - 40) / 25) if name.endswith("Rear") else 1
            speed = round((usual + 250 * math.sin(step / 8) + chance.gauss(0, 25)) * slow)
            for plugin in ("Fan_Speed", "Fans"):
                yield at, plugin, name, {HOST: speed}
        for array, states in STATES.items():
            yield at, "Raid_State", array, {HOST: [word for first, word in states if step >= first][-1]}
        for disk, hours in {"sda": 8120, "sdb": 30144}.items():
            values = {"smart": "ok", "hours": hours + step // 12, "spare": 100 if disk == "sda" else 87}
            yield at, "Disk_Health", disk, {HOST: values}


@pytest.fixture(scope="module")
def fleet(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(broker, tmp_path_factory.mktemp("fleet"))
    fans = files_of_guide("fan_speed")
    (panel,) = re.findall(r"```python\n(PANEL = \{.*?)```", GUIDE, re.DOTALL)
    named = fans["manifest.py"].replace("Fan_Speed", "Fans") + panel
    raid = fans | {"manifest.py": fans["manifest.py"].replace("Fan_Speed", "Raid_State")}
    add_package(fleet.workspace, "fan_speed", fans)
    server = fans["server.py"].replace("fan_speed", "fans")
    add_package(fleet.workspace, "fans", fans | {"manifest.py": named, "server.py": server})
    add_package(fleet.workspace, "raid_state", raid | files_of_guide("raid_state"))
    add_plugin(fleet.workspace, "Disk_Health", "Json", "Disk_Health")
    try:
        fleet.worker.start()
        fleet.worker.wait_ready()
        sent = list(readings())
        fleet.send_all(sent)
        fleet.wait_for(1)
        expected = sum(plugin == "Disk_Health" for _, plugin, _, _ in sent)
        path = f"/api/v1/plugins/Disk_Health/hosts/{HOST}/readings?from={time_of(0)}&to={time_of(HOURS)}&limit=1000"
        eventually(lambda: fleet.worker.get(path), lambda found: len(found[1]["readings"]) == expected)
        yield fleet
    finally:
        fleet.worker.close()


def time_of(hours: int) -> str:
    return f"{datetime.fromtimestamp(START + hours * 3600, UTC):%FT%TZ}"


@pytest.fixture
def section(fleet: Fleet, visit: Visit, request: pytest.FixtureRequest) -> Locator:
    """What the page shows of a plugin."""
    # Until all aggregates are in SQL.
    path = f"/api/v1/plugins/Fans/hosts/{HOST}/columns?from={time_of(0)}&to={time_of(HOURS)}&points=400"
    eventually(
        lambda: fleet.worker.get(path)[1]["series"],
        lambda found: all(sum(each["count"]) == STEPS for each in found.values()) and len(found) == 3,
    )
    page = visit(fleet.worker, viewport={"width": 900, "height": 2400}).open(
        host_path(HOST, **{"from": time_of(0), "to": time_of(HOURS)})
    )
    shown = page.locator("section.of-plugin", has=page.get_by_role("heading", name=request.param, exact=True))
    expect(shown).to_be_visible()
    return shown


@pytest.mark.parametrize("section", ["Fan_Speed, rpm"], indirect=True)
def test_without_a_panel_all_metrics_share_a_chart(section: Locator, pictures: Path) -> None:
    expect(section.locator("figure.chart canvas")).to_have_count(1)
    expect(section.locator("figure.chart .chart-legend li")).to_have_count(3)
    take(section, pictures / "plugin-default.png")


@pytest.mark.parametrize("section", ["Fans, rpm"], indirect=True)
def test_a_panel_has_its_title_thresholds_and_charts(section: Locator, pictures: Path) -> None:
    expect(section.locator("figure.chart h3")).to_have_text(["amdgpu", "nct6775"])
    expect(section.locator(".limits")).to_have_text("Warning < 600\u00a0rpmCritical < 200\u00a0rpm")
    take(section, pictures / "plugin-panel.png")


@pytest.mark.parametrize("section", ["Raid_State"], indirect=True)
def test_strings_are_a_timeline(section: Locator, pictures: Path) -> None:
    expect(section.locator(".timeline-row")).to_have_count(2)
    take(section, pictures / "plugin-strings.png")


@pytest.mark.parametrize("section", ["Disk_Health"], indirect=True)
def test_objects_are_a_table(section: Locator, pictures: Path) -> None:
    expect(section.locator(".words .json")).to_have_count(2)
    take(section, pictures / "plugin-objects.png")
