"""A fleet with a story: what the page answers about it in a few clicks, and the pictures of the README.

``make pictures`` writes them to docs/images.
"""

import math
import random
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.integration.conftest import Visit
from tests.support.broker import Broker
from tests.support.eventually import eventually
from tests.support.fleet import Fleet

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


@pytest.fixture(scope="module")
def fleet(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(broker, tmp_path_factory.mktemp("fleet")) as fleet:
        now = time.time()
        fleet.send_all(readings(now))
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


@pytest.fixture
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder for pictures."""
    folder: Path = request.config.getoption("pictures") or tmp_path
    folder.mkdir(exist_ok=True)
    return folder


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
    page.screenshot(path=pictures / f"overview-{scheme}-{language}.png")
    page.get_by_role("columnheader").nth(3).get_by_role("link").click()
    expect(page.locator("tbody th").first).to_have_text(HOTTEST)


def test_the_map_over_time_says_since_when(fleet: Fleet, visit: Visit, pictures: Path) -> None:
    visitor = visit(fleet.worker, viewport={"width": 1280, "height": 1000})
    page = shown(visitor.open("/?map=Temperature&over=6h&sort=-Temperature"))
    expect(page.locator(".time-map .names li").first).to_have_text(HOTTEST)
    page.locator(".time-map").screenshot(path=pictures / "overview-time.png")
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
    page.screenshot(path=pictures / "overview-phone.png")
