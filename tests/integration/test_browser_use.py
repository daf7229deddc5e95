"""The overview as different people use it: by keyboard, with a screen reader, on a phone, and for a week."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.integration.conftest import Visit
from tests.support.broker import Broker
from tests.support.browser import LOOKS, UPDATES, assert_does_not_grow, axe_script, violations
from tests.support.eventually import eventually
from tests.support.fleet import Fleet, small_fleet

pytestmark = pytest.mark.any_broker

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
VISITS = """
    async (count) => {
        const shown = async (selector) => {
            while (!document.querySelector(selector)) await new Promise((resolve) => setTimeout(resolve, 10));
        };
        for (let done = 0; done < count; done += 1) {
            for (const path of ["/pipeline", "/dead-letters"]) {
                document.querySelector(`nav a[href="${path}"]`).click();
                await shown(`nav a[href="${path}"][aria-current]`);
            }
            document.querySelector("nav a").click();
            await shown("tbody tr");
        }
    }
"""
"""Opens all views. Not by Playwright, which keeps the elements that it has found."""


@pytest.fixture(scope="module")
def fleet(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with small_fleet(broker, tmp_path_factory.mktemp("fleet")) as running:
        yield running


@pytest.mark.parametrize(("scheme", "locale", "width"), LOOKS)
def test_axe_finds_nothing(fleet: Fleet, visit: Visit, scheme: str, locale: str, width: int) -> None:
    visitor = visit(
        fleet.worker, color_scheme=scheme, locale=locale, viewport={"width": width, "height": 800}
    )
    visitor.context.add_init_script(axe_script())
    for path in ("/", "/?over=1h&state=warning"):
        page = visitor.open(path)
        expect(page.locator(".legend")).to_be_visible()
        assert violations(page) == []


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.outerHTML"))[:200]


def test_the_keyboard_alone_reaches_and_opens_a_host(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open()
    expect(page.locator(".legend")).to_be_visible()
    page.keyboard.press("Tab")
    assert "Skip to content" in focused(page)
    page.keyboard.press("Enter")
    assert 'id="main"' in focused(page)
    for _ in range(20):
        page.keyboard.press("Tab")
        if "listbox" in focused(page):
            break
    assert "listbox" in focused(page)
    # In the order of names, the hosts of the plugin that is shown: host-03 to host-11.
    option = page.locator(".cells:visible [role=option]")
    expect(option).to_have_text("host-03: 90\u00a0%, Warning")
    page.keyboard.press("ArrowRight")
    expect(option).to_have_text("host-04: 20\u00a0%, OK")
    page.keyboard.press("End")
    expect(option).to_have_text("host-11: 55\u00a0%, OK")
    assert option.get_attribute("aria-posinset") == option.get_attribute("aria-setsize") == "9"
    expect(page.locator(".tip:visible")).to_contain_text("host-11")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("name=host-11$"))
    # The new view is announced by its heading.
    assert "<h1" in focused(page)


def test_an_update_takes_neither_the_focus_nor_the_selection(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open("/?sort=host")
    link = page.locator("tbody").get_by_role("link", name="host-09")
    link.focus()
    page.evaluate(UPDATES, 3)
    expect(link).to_be_focused()
    page.locator(".cells:visible").focus()
    page.keyboard.press("End")
    page.evaluate(UPDATES, 3)
    expect(page.locator(".tip:visible")).to_contain_text("host-11")
    page.get_by_role("columnheader", name="Host").get_by_role("link").focus()
    page.evaluate(UPDATES, 3)
    assert "/?sort=-host" in focused(page)


def test_a_phone_shows_cards_and_a_finger_selects_before_it_opens(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker, **PHONE).open()
    expect(page.locator("tbody tr")).to_have_count(12)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["viewport"]["width"]
    page.locator(".cells canvas:visible").tap(position={"x": 5, "y": 5})
    expect(page.locator(".tip:visible")).to_contain_text("host-03")
    assert page.url == f"{fleet.worker.url}/"
    page.locator(".tip:visible a").tap()
    expect(page).to_have_url(re.compile("name=host-03$"))


def test_the_map_over_time_shows_when_hosts_were_hot(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open("/?map=Temperature")
    page.get_by_role("navigation", name="Time of the heat map").get_by_role("link", name="1 h").click()
    expect(page.locator(".time-map .names li")).to_have_count(12)
    assert page.url.endswith("/?map=Temperature&over=1h")
    page.locator(".cells:visible").focus()
    page.keyboard.press("End")
    # The last cell is that of this minute, of the last host in the order of the table.
    expect(page.locator(".cells:visible [role=option]")).to_contain_text("host-11, ")
    page.get_by_role("link", name="Now", exact=True).click()
    expect(page.locator(".time-map")).to_be_hidden()


def test_the_map_over_a_week_has_the_days_before(fleet: Fleet, visit: Visit) -> None:
    at = time.time() - 5 * 86_400
    fleet.send("Temperature", "coretemp/Core 0", {"host-01": 61.5}, at)
    day = f"{datetime.fromtimestamp(at - 43_200, UTC):%FT%TZ}"
    path = f"/api/v1/plugins/Temperature/headlines?search=host-01&from={day}&to={datetime.now(UTC):%FT%TZ}"
    eventually(
        lambda: fleet.worker.get(path)[1].get("average", [[]])[0],
        lambda found: 61.5 in found,
        seconds=90,
    )
    page = visit(fleet.worker).open("/?map=Temperature&sort=host")
    page.get_by_role("navigation", name="Time of the heat map").get_by_role("link", name="7 d").click()
    expect(page.locator(".time-map .names li").first).to_have_text("host-01")
    page.locator(".cells:visible").focus()
    page.keyboard.press("Home")
    option = page.locator(".cells:visible [role=option]")
    row = []
    while (cell := option.inner_text()).startswith("host-01"):
        row.append(cell)
        page.keyboard.press("ArrowRight")
    # Steps of two hours.
    assert len(row) in {84, 85}
    (place,) = (number for number, cell in enumerate(row) if "61.5" in cell)
    assert 22 <= place <= 26
    # The last step may have begun after the reading.
    assert any("97" in cell for cell in row[-2:])


def test_a_live_change_is_shown_without_reloading(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open()
    row = page.locator("tbody tr", has_text="host-08")
    expect(row.locator(".state")).to_have_text("OK")
    fleet.send("Temperature", "coretemp/Core 0", {"host-08": 99.5})
    expect(row.locator(".state")).to_have_text("Critical")
    expect(row.locator(".number").last).to_have_text("99.5\u00a0°C")
    expect(page.get_by_role("link", name="Critical 2")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Silent: 1, critical: 2")


def test_the_colours_are_chosen_and_kept(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker, color_scheme="dark").open()
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_label("Colours").select_option("Light")
    light = page.evaluate(background)
    assert light != dark
    page.reload()
    assert page.evaluate(background) == light
    page.get_by_label("Colours").select_option("Auto")
    assert page.evaluate(background) == dark


FORMATTED = """
    async (calls) => {
        const assets = document.querySelector("script[type=module]").src;
        const files = ["values.js", "times.js", "names.js"].map((each) => import(new URL(each, assets)));
        const format = Object.assign({}, ...(await Promise.all(files)));
        return calls.map(([name, ...values]) => {
            const found = format[name](...values);
            return found instanceof Element ? [found.textContent, found.title] : found;
        });
    }
"""


@pytest.mark.parametrize(
    ("zone", "locale", "at", "text", "utc"),
    [
        # The hour that is twice, and the night in which one is missing.
        (
            "Europe/Berlin",
            "en-GB",
            "2026-10-25T00:30:00Z",
            "25 Oct 2026, 02:30:00 CEST",
            "2026-10-25 00:30:00 UTC",
        ),
        (
            "Europe/Berlin",
            "en-GB",
            "2026-10-25T01:30:00Z",
            "25 Oct 2026, 02:30:00 CET",
            "2026-10-25 01:30:00 UTC",
        ),
        (
            "Europe/Berlin",
            "ru-RU",
            "2026-03-29T01:00:00Z",
            "29 мар. 2026 г., 03:00:00 GMT+2",
            "2026-03-29 01:00:00 UTC",
        ),
        (
            "Asia/Kolkata",
            "en-GB",
            "2026-01-01T18:45:00.250Z",
            "2 Jan 2026, 00:15:00",
            "2026-01-01 18:45:00.25 UTC",
        ),
    ],
)
def test_times_are_local_and_utc_is_their_tooltip(
    fleet: Fleet, visit: Visit, zone: str, locale: str, at: str, text: str, utc: str
) -> None:
    page = visit(fleet.worker, timezone_id=zone, locale=locale).open()
    ((shown, title),) = page.evaluate(FORMATTED, [["instant", at]])
    assert shown.replace("\u202f", " ").replace("\u00a0", " ") in {
        text,
        text.replace("Oct 2026,", "Oct 2026 at"),
    }
    assert title == utc


def test_values_have_the_decimals_and_the_unit_of_their_plugin(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open()

    def quantity(value: float | None, unit: str, kind: str = "number", decimals: int = 1) -> str:
        panel = {"quantity": kind, "decimals": decimals, "thresholds": []}
        call = ["quantity", value, {"unit": unit, "panel": panel}]
        return str(page.evaluate(FORMATTED, [call])[0]).replace("\u00a0", " ")

    assert quantity(84.25, "°C", "temperature") in {"84.3 °C", "84.2 °C"}
    assert quantity(None, "°C") == "–"
    assert quantity(1234567.0, "", "count", 0) == "1,234,567"
    assert quantity(3.5 * 2**30, "B", "bytes") == "3.5 GiB"
    assert quantity(2_400_000_000, "Hz", "frequency", 2) == "2.40 GHz"
    assert quantity(1500, "MHz", "frequency", 0) == "1,500 MHz"
    assert quantity(93_784, "s", "duration") == "1 d 2 h"
    assert quantity(-1.5e300, "V") == "-1.5E300 V"
    assert page.evaluate(FORMATTED, [["duration", each] for each in (0, 59.6, 125, 3600, 90_061)]) == [
        "0 s",
        "1 min",
        "2 min",
        "1 h",
        "1 d 1 h",
    ]
    assert page.evaluate(FORMATTED, [["visible", "a\x00\x1b\x7f\u200f"], ["shortened", "😀" * 9, 5]]) == [
        "a␀␛␡⟨U+200F⟩",
        "😀😀…😀😀",
    ]


def test_a_page_that_is_left_open_does_not_grow(fleet: Fleet, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    page = visitor.open()
    assert_does_not_grow(page, lambda: page.evaluate(VISITS, 10))
