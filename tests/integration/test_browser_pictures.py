"""A fleet with a story: what the page answers about it in a few clicks, and the pictures of the README.

``make pictures`` writes them to docs/images.
"""

import math
import random
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.integration.conftest import Visit
from tests.support.broker import Broker
from tests.support.eventually import eventually
from tests.support.fleet import Fleet
from tests.support.host_page import changed, chart, host_path
from tests.support.pictures import take

pytestmark = pytest.mark.any_broker

HOSTS = {
    f"{kind}-{number:02}": load
    for kind, count, load in [
        ("build", 14, 55),
        ("cache", 6, 20),
        ("db", 8, 45),
        ("gpu", 12, 65),
        ("web", 20, 35),
    ]
    for number in range(1, count + 1)
}
"""Usual load in %."""
MINUTES = 5
"""Between two readings."""
HOURS = 6
SILENT = {"web-17": 95, "cache-04": 40}
"""Since how many minutes."""
HOTTEST = "gpu-07"
TUESDAY = datetime(2026, 3, 10, 6, tzinfo=UTC).timestamp()
PEAK = "gpu-03"
"""Was hot on that Tuesday."""
GAP = range(15, 19)
"""Steps of that Tuesday without a reading."""


def readings(now: float) -> Iterator[tuple[float, str, str, dict[str, object]]]:
    """Loads and temperatures of the hosts, from the past until now."""
    chance = random.Random(7)
    for step in range(HOURS * 60 // MINUTES, -1, -1):
        loads: dict[str, object] = {}
        temperatures: dict[str, object] = {}
        for index, (host, usual) in enumerate(HOSTS.items()):
            if step * MINUTES < SILENT.get(host, 0):
                continue
            wave = 14 * math.sin(index + step / 9) + (24 if host.startswith("build") and step % 24 < 9 else 0)
            load = min(100.0, max(1.0, usual + wave + chance.gauss(0, 3)))
            # A fan has failed.
            heat = 45 * (1 - step / 20) if host == HOTTEST and step < 20 else 0
            loads[host] = round(load)
            temperatures[host] = round(32 + load * 0.42 + heat + chance.gauss(0, 0.7), 1)
        at = now - step * MINUTES * 60
        yield at, "PU_Workload", "CPU/total", loads
        yield at, "Temperature", "coretemp/Package", temperatures


def tuesday() -> Iterator[tuple[float, str, str, dict[str, object]]]:
    """Six hours of one host: its fan stood still for a while."""
    chance = random.Random(3)
    for step in range(HOURS * 60 // MINUTES):
        if step in GAP:
            continue
        at = TUESDAY + step * MINUTES * 60
        load = min(100.0, max(1.0, 48 + 18 * math.sin(step / 9) + chance.gauss(0, 3)))
        heat = 42 * math.exp(-(((step - 50) / 5) ** 2))
        for core in range(2):
            value = round(32 + load * 0.42 + heat * (1 - core / 8) + chance.gauss(0, 0.9), 1)
            yield at, "Temperature", f"coretemp/Core {core}", {PEAK: value}
        yield at, "PU_Workload", "CPU/total", {PEAK: round(load)}


@pytest.fixture(scope="module")
def fleet(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(broker, tmp_path_factory.mktemp("fleet")) as fleet:
        now = time.time()
        fleet.send_all([*tuesday(), *readings(now)])
        # When a host sent readings is written once a minute.
        eventually(
            lambda: fleet.worker.get("/api/v1/hosts?limit=1000"), lambda found: is_settled(found[1], now), 150
        )
        fleet.wait_for(len(HOSTS))
        yield fleet


def is_settled(known: Any, now: float) -> bool:
    """Whether it is known when each host sent its last reading."""
    received = {
        host["host"]: min(
            datetime.fromisoformat(plugin["last_received_at"]).timestamp() for plugin in host["plugins"]
        )
        for host in known["hosts"]
    }
    ages = {host: (now - at) / 60 for host, at in received.items()}
    return len(ages) == len(HOSTS) and all(
        abs(age - SILENT.get(host, 0)) < MINUTES for host, age in ages.items()
    )


def shown(page: Page) -> Page:
    """The page, when its maps are drawn."""
    expect(page.locator(".legend")).to_be_visible()
    expect(page.locator("tbody tr").first).to_be_visible()
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("locale", "language"), [("en-GB", "en"), ("ru-RU", "ru")])
def test_the_overview_says_who_is_hot_and_who_fell_silent(
    fleet: Fleet, visit: Visit, pictures: Path, scheme: str, locale: str, language: str
) -> None:
    visitor = visit(fleet.worker, color_scheme=scheme, locale=locale, viewport={"width": 1280, "height": 760})
    page = shown(visitor.open())
    silent = page.locator(".silent-hosts")
    # The last one first.
    expect(silent.locator("li bdi")).to_have_text(["cache-04", "web-17"])
    expect(silent.locator("li time").last).to_contain_text("1 h ago" if language == "en" else "1 ч назад")
    critical = page.locator("tbody tr", has_text=HOTTEST)
    expect(critical.locator(".state")).to_have_text("Critical" if language == "en" else "Критично")
    take(page, pictures / f"overview-{scheme}-{language}.png")
    page.get_by_role("columnheader").nth(4).get_by_role("link").click()
    expect(page.locator("tbody th").first).to_have_text(HOTTEST)


def test_the_map_over_time_says_since_when(fleet: Fleet, visit: Visit, pictures: Path) -> None:
    visitor = visit(fleet.worker, viewport={"width": 1280, "height": 1000})
    page = shown(visitor.open("/?map=Temperature&over=6h&sort=-Temperature"))
    expect(page.locator(".time-map .names li").first).to_have_text(HOTTEST)
    take(page.locator(".time-map"), pictures / "overview-time.png")
    page.locator(".cells:visible").focus()
    option = page.locator(".cells:visible [role=option]")
    expect(option).to_contain_text(HOTTEST)
    hot = 0
    while HOTTEST in (text := option.inner_text()):
        value = text.split(": ")[1].split("\u00a0")[0]
        hot += value != "–" and float(value) > 80
        page.keyboard.press("ArrowRight")
    # Since less than an hour; the steps are of five minutes.
    assert 2 <= hot <= 12


def test_a_phone_shows_the_same(fleet: Fleet, visit: Visit, pictures: Path) -> None:
    visitor = visit(fleet.worker, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = shown(visitor.open())
    expect(page.locator(".silent-hosts li bdi")).to_have_text(["cache-04", "web-17"])
    take(page, pictures / "overview-phone.png")


def test_hosts_beside_each_other_say_which_one_differs(fleet: Fleet, visit: Visit, pictures: Path) -> None:
    page = visit(fleet.worker, viewport={"width": 1280, "height": 1000}).open("/?search=gpu-0")
    compared = ["gpu-05", "gpu-06", HOTTEST, "gpu-08"]
    for host in compared:
        page.get_by_role("checkbox", name=f"Compare {host}").check()
    page.get_by_role("link", name="Compare 4 hosts").click()
    page.get_by_role("link", name="6 h", exact=True).click()
    figure = chart(page, "coretemp")
    expect(figure.locator("figcaption")).to_contain_text("averages of 2 min")
    values = [
        float(each.split("\u00a0")[0]) for each in figure.locator(".small-charts .number").all_inner_texts()
    ]
    assert max(values) == values[2] > 80
    expect(figure.locator(".small-charts .state")).to_have_text(["OK", "OK", "Critical", "OK"])
    page.mouse.move(0, 0)
    take(figure, pictures / "compare.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("locale", "language"), [("en-GB", "en"), ("ru-RU", "ru")])
def test_the_page_of_a_host_says_whether_a_peak_was_real(
    fleet: Fleet, visit: Visit, pictures: Path, scheme: str, locale: str, language: str
) -> None:
    start, end = (f"{datetime.fromtimestamp(TUESDAY + hours * 3600, UTC):%FT%TZ}" for hours in (0, HOURS))
    missed = [f"{datetime.fromtimestamp(TUESDAY + step * MINUTES * 60, UTC):%FT%TZ}" for step in (15, 19)]
    visitor = visit(
        fleet.worker, color_scheme=scheme, locale=locale, viewport={"width": 1280, "height": 1180}
    )
    page = visitor.page
    # How often it sends readings is measured for some minutes.
    for plugin in ("PU_Workload", "Temperature"):
        changed(
            page,
            plugin,
            "completeness",
            {
                "from": start,
                "expected": HOURS * 60 // MINUTES,
                "missing": len(GAP),
                "completeness": 1 - len(GAP) / (HOURS * 60 // MINUTES),
                "gaps": [{"from": missed[0], "to": missed[1], "missing": len(GAP)}],
            },
        )

    def regular(route: Route) -> None:
        response = route.fetch()
        if response.status != 200:
            # What has not changed is not sent again.
            route.fulfill(response=response)
            return
        found = response.json()
        for each in found["plugins"].values():
            each["interval_seconds"] = MINUTES * 60
        route.fulfill(response=response, json=found)

    page.route(f"**/api/v1/hosts/{PEAK}", regular)
    visitor.open(host_path(PEAK, **{"from": start, "to": end}))
    figure = chart(page, "coretemp")
    expect(figure.locator("canvas")).to_be_visible()
    caption = figure.locator("figcaption").inner_text().replace(",", ".")
    highest = max(float(each) for each in re.findall(r"(\d\d\.\d)\u00a0°C", caption))
    assert highest > 80
    expect(page.locator(".strip-row .gap")).to_have_count(2)
    section = page.locator("section.of-plugin", has=figure)
    section.locator("button.prove").click()
    expect(section.locator(".recount[data-state=equal]")).to_be_visible()
    page.mouse.move(0, 0)
    take(page, pictures / f"host-{scheme}-{language}.png")
