"""The contract of plugins in a browser: every installed package is shown, without a line anywhere else."""

import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from sparkle_app.plugin.discovery import InstalledPlugin, load_plugins
from tests.integration.conftest import Visit
from tests.support.broker import Broker
from tests.support.fleet import Fleet
from tests.support.guide import add_package, files_of_guide
from tests.support.host_page import host_path
from tests.support.worker import PROJECT, Workspace

pytestmark = pytest.mark.any_broker

POWER = """
NAME, VERSION, AUTHOR, TOPIC = "Power_<b>", "1", "me", "telemetry"
DESCRIPTION = "Power of the supplies"
PANEL = {
    "title": {"en": "Power <i>", "ru": "Мощность <i>"},
    "quantity": "power",
    "decimals": 2,
    "thresholds": [{"value": 1000, "severity": "critical"}],
}
"""
VALUES: dict[str, object] = {"Fan_Speed": 2900, "Power_<b>": 1234.5, "Raid_State": "clean"}
"""Of the packages that do not belong to the project; others get one in the middle of their bounds."""


def add_packages(workspace: Workspace) -> None:
    """Those of the guide, and one of somebody else."""
    fans = files_of_guide("fan_speed")
    raid = (
        fans
        | {"manifest.py": fans["manifest.py"].replace("Fan_Speed", "Raid_State")}
        | files_of_guide("raid_state")
    )
    server = fans["server.py"].replace("fan_speed", "power").replace('"rpm"', '"W"')
    packages = {
        "fan_speed": fans,
        "raid_state": raid,
        "power": fans | {"manifest.py": POWER, "server.py": server},
    }
    for name, files in packages.items():
        add_package(workspace, name, files)


def value_of(plugin: InstalledPlugin) -> Any:
    low, high = plugin.plugin.minimum, plugin.plugin.maximum
    assert math.isfinite(low), f"add a value of {plugin.name} to VALUES"
    assert math.isfinite(high), f"add a value of {plugin.name} to VALUES"
    return (low + high) / 2


@pytest.fixture(scope="module")
def fleet(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(broker, tmp_path_factory.mktemp("fleet"))
    add_packages(fleet.workspace)
    shipped = load_plugins(PROJECT / "plugins").installed
    values = {name: value_of(plugin) for name, plugin in shipped.items()} | VALUES
    with fleet:
        for plugin, value in values.items():
            fleet.send(plugin, "some/key", {f"host of {plugin}": value})
        fleet.wait_for(len(values))
        yield fleet


def installed(fleet: Fleet) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fleet.worker.get("/api/v1/plugins")[1]["plugins"]
    return found


def title(plugin: dict[str, Any], language: str) -> str:
    declared = plugin["panel"]["title"] or plugin["name"]
    return declared if isinstance(declared, str) else declared[language]


def shown(page: Page, plugin: dict[str, Any]) -> str:
    """What the plugin's column shows of its host."""
    headings = page.locator("table.hosts thead tr > *").evaluate_all(
        "all => all.map(each => each.dataset.column)"
    )
    row = page.locator("table.hosts tbody tr", has_text=f"host of {plugin['name']}")
    return row.locator("th, td").nth(headings.index(plugin["name"])).locator(".number").inner_text()


@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_installed_plugin_is_shown_with_its_title_and_values(
    fleet: Fleet, visit: Visit, language: str
) -> None:
    page = visit(fleet.worker, locale=language).open()
    plugins = installed(fleet)
    assert {each["name"] for each in plugins} >= {"Fan_Speed", "Power_<b>", "Raid_State", "Temperature"}
    expect(page.locator("table.hosts tbody tr")).to_have_count(len(plugins))
    for plugin in plugins:
        heading = page.locator(f"table.hosts thead th[data-column='{plugin['name']}']")
        expect(heading).to_have_text(title(plugin, language))
        expect(page.locator(".tabs").first).to_contain_text(title(plugin, language))
        text = shown(page, plugin)
        if plugin["name"] != "Raid_State":
            assert text.endswith(plugin["unit"]), plugin["name"]
            decimals = re.search(r"[.,](\d+)\s", text)
            assert len(decimals[1] if decimals else "") == plugin["panel"]["decimals"], plugin["name"]


def test_every_installed_plugin_has_its_section_on_the_page_of_a_host(fleet: Fleet, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    for plugin in installed(fleet):
        page = visitor.open(host_path(f"host of {plugin['name']}", range="15m"))
        section = page.locator("section.of-plugin", has=page.get_by_role("heading", name=title(plugin, "en")))
        expect(section).to_have_count(1)
        if plugin["name"] == "Raid_State":
            expect(section.locator(".timeline-row")).to_contain_text("clean")
            continue
        expect(section.locator("figure.chart canvas")).to_be_visible()
        expect(section.locator("figcaption")).to_contain_text(plugin["unit"])
        words = {"warning": "Warning", "critical": "Critical"}
        limits = [words[each["severity"]] for each in plugin["panel"]["thresholds"]]
        shown = section.locator(".limits .state").all_inner_texts()
        assert [each.split()[0] for each in shown] == limits


def test_the_fans_of_the_guide_need_no_line(fleet: Fleet, visit: Visit) -> None:
    """Their manifest has no PANEL."""
    page = visit(fleet.worker).open()
    (fans,) = (each for each in installed(fleet) if each["name"] == "Fan_Speed")
    assert "PANEL" not in (fleet.workspace.plugins / "fan_speed" / "manifest.py").read_text()
    assert shown(page, fans) == "2,900.0\u00a0rpm"
    # The ends of the bar are the bounds of the server half.
    fill = page.locator("tbody tr", has_text="host of Fan_Speed").locator(".value[data-state=ok] .fill")
    assert fill.evaluate("each => each.style.width") == "5.8%"


def test_the_panel_of_a_folder_of_somebody_else_is_used(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open()
    (power,) = (each for each in installed(fleet) if each["name"] == "Power_<b>")
    assert shown(page, power) == "1.23\u00a0kW"
    row = page.locator("table.hosts tbody tr", has_text="host of Power_<b>")
    expect(row.locator(".state")).to_have_text("Critical")


def test_a_plugin_of_strings_has_no_number(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open()
    (raid,) = (each for each in installed(fleet) if each["name"] == "Raid_State")
    assert shown(page, raid) == "–"
