"""The charts of a host by mouse, finger and keyboard, and for a long time."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
import requests
from playwright.sync_api import expect

from tests.integration.conftest import Visit
from tests.support.browser import axe_script, violations
from tests.support.fleet import Fleet
from tests.support.host_history import HOST
from tests.support.host_page import chart, drag, host_path, range_in_url

pytestmark = pytest.mark.any_broker
BERLIN = ZoneInfo("Europe/Berlin")


def test_a_drag_shows_finer_data_of_that_time_and_back_undoes_it(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open(host_path(range="24h"))
    figure = chart(page, "Processor")
    expect(figure.locator("figcaption")).to_contain_text("averages of 5 min")
    drag(page, figure, 0.9, 0.99)
    expect(figure.locator("figcaption")).to_contain_text("averages of 1 min")
    first, last = range_in_url(page)
    assert 1.8 * 3600 < (last - first).total_seconds() < 2.6 * 3600
    drag(page, figure, 0.5, 0.8)
    expect(figure.locator("figcaption")).to_contain_text("every reading")
    inner = range_in_url(page)
    assert first < inner[0] < inner[1] < last
    page.go_back()
    expect(figure.locator("figcaption")).to_contain_text("averages of 1 min")
    assert range_in_url(page) == (first, last)
    figure.locator(".u-over").dblclick()
    expect(page).not_to_have_url(re.compile(re.escape(quote(first.strftime("%H:%M:%S")))))
    assert (range_in_url(page)[1] - range_in_url(page)[0]) > 1.5 * (last - first)
    page.get_by_role("link", name="1 h", exact=True).click()
    expect(page).to_have_url(f"{history.worker.url}{host_path()}")
    expect(page.locator(".live")).to_have_text("Live")


def test_the_time_over_a_chart_is_that_of_the_points_whose_values_are_shown(
    history: Fleet, visit: Visit
) -> None:
    last = datetime.now(UTC).replace(microsecond=0)
    first = last - timedelta(minutes=15)
    page = visit(history.worker).open(
        host_path(**{"from": f"{first:%Y-%m-%dT%H:%M:%SZ}", "to": f"{last:%Y-%m-%dT%H:%M:%SZ}"})
    )
    figure = chart(page, "coretemp")
    path = f"{history.worker.url}/api/v1/plugins/Temperature/hosts/{HOST}/readings"
    found = requests.get(
        path, {"from": first.isoformat(), "to": last.isoformat(), "metric": "coretemp/Core 0"}, timeout=10
    ).json()["readings"]
    times = [datetime.fromisoformat(each["observed_at"]) for each in found]
    at = figure.locator(".at")

    def point(time: datetime) -> None:
        figure.scroll_into_view_if_needed()
        box = figure.locator(".u-over").bounding_box()
        assert box
        part = (time - first) / (last - first)
        page.mouse.move(box["x"] + part * box["width"], box["y"] + 40)

    (left, right) = next(pair for pair in pairwise(times) if (pair[1] - pair[0]).total_seconds() < 90)
    for part, nearest in ((0.2, left), (0.8, right)):
        point(left + part * (right - left))
        expect(at).to_have_text(re.compile(f"{nearest.astimezone(BERLIN):%H:%M:%S}$"))
        expect(at).to_have_attribute("title", re.compile(f"^{nearest:%Y-%m-%d %H:%M:%S}"))
        expect(figure.locator(".chart-legend .number").first).to_have_text(re.compile(r"\d\d\.\d.°C"))
    page.mouse.move(0, 0)
    expect(at).to_have_text("")
    page.get_by_role("link", name="24 h", exact=True).click()
    expect(figure.locator("figcaption")).to_contain_text("averages of 5 min")
    point(last - 0.01 * (last - first))
    expect(at).to_have_text(re.compile(r"\d\d:\d[05] – (.*, )?\d\d:\d[05]$"))


def test_what_a_threshold_means_is_written_over_the_lines(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open(host_path())
    drawn = page.evaluate(
        """async () => {
            const url = (name) => new URL(name, document.querySelector("script[type=module]").src);
            const { drawAbove, drawBelow } = await import(url("chart_layers.js"));
            const calls = [];
            const context = new Proxy({}, {
                get: (target, name) => target[name] ?? ((...args) => {
                    if (name.endsWith("Text")) calls.push([name, args[0].split(" ")[0], target.fillStyle]);
                    if (name === "roundRect") calls.push([name, args.slice(0, 4).join(" "), target.fillStyle]);
                    return { width: 100 };
                }),
            });
            const plot = {
                ctx: context, bbox: { left: 0, top: 0, width: 500, height: 200 },
                scales: { y: { min: 0, max: 100 } }, valToPos: (value) => 200 - 2 * value,
                posToVal: (at, axis) => (axis === "x" ? at : (200 - at) / 2),
            };
            const thresholds = [{ severity: "warning", when: "above", value: 80 }];
            const state = {
                plugin: { unit: "%", panel: { quantity: "ratio", decimals: 0, thresholds } },
                palette: { "--card": "card", "--warning": "orange" }, lines: [], bands: [], texts: true,
            };
            drawBelow(plot, state);
            const below = calls.length;
            drawAbove(plot, state);
            return [below, calls.map((each) => each.join(" "))];
        }"""
    )
    # On a surface in the colour of the card, above the line at 40.
    assert drawn == [
        0,
        ["measureText Warning card", "roundRect 388 22 108 16 card", "fillText Warning orange"],
    ]


def test_a_text_beside_a_threshold_is_where_it_hides_no_line_and_no_other_text(
    history: Fleet, visit: Visit
) -> None:
    page = visit(history.worker).open(host_path())
    crossings, places = page.evaluate(
        """async () => {
            const url = (name) => new URL(name, document.querySelector("script[type=module]").src);
            const { crossings, places } = await import(url("chart_texts.js"));
            const line = { x: [0, 10, 20, 40, 100], value: [0, 10, null, 50, 50] };
            const inside = (from, to, low, high) => crossings([line], 30, { from, to, low, high });
            const box = { left: 0, top: 0, width: 400, height: 100 };
            const text = (y, above = true) => ({ wide: 100, high: 16, y, above });
            // Of x, y: each thing that must not be hidden is a point.
            const hides = (...points) => ({ left, top, wide, high }) => points.filter(
                ([x, y]) => x >= left && x <= left + wide && y >= top && y <= top + high).length;
            const foundIn = (box, texts, ...points) =>
                places(box, texts, 2, hides(...points)).map(({ left, top }) => [left, top]);
            const found = (...all) => foundIn(box, ...all);
            const columns = (...all) => all.flatMap((x) => [[x, 40], [x, 60]]);
            return [
                [inside(2, 8, 0, 1), inside(2, 8, 2, 3), inside(50, 90, 45, 55), inside(30, 50, 45, 55),
                    inside(12, 18, 0, 99)],
                [
                    found([text(50)]), found([text(50)], [350, 40]), found([text(50)], [350, 40], [350, 60]),
                    found([text(10)]), found([text(50, false)]), found([text(50), text(55)]),
                    found([text(50)], ...columns(350, 50)),
                    foundIn({ ...box, width: 800 }, [text(50)], ...columns(750, 650, 50, 150)),
                    foundIn({ ...box, width: 800 }, [text(50), { ...text(55), wide: 90 }], ...columns(750, 50)),
                ],
            ];
        }"""
    )
    # A line passes between its points, but not where it has a gap, or nothing.
    assert crossings == [0, 1, 0, 1, 0]
    assert places == [
        # At the right end, beyond the line; otherwise before it, or at the left end.
        [[296, 32]],
        [[296, 52]],
        [[4, 32]],
        # Where there is room.
        [[296, 12]],
        [[296, 52]],
        # Beside another text.
        [[296, 32], [296, 57]],
        # Between the ends, near the right one.
        [[192, 32]],
        [[488, 32]],
        [[592, 32], [602, 57]],
    ]


def test_a_finger_selects_a_point_and_a_range(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True).open(
        host_path()
    )
    figure = chart(page, "nvme")
    figure.locator("canvas").scroll_into_view_if_needed()
    box = figure.locator(".u-over").bounding_box()
    assert box
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.touchscreen.tap(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2)
    expect(figure.locator(".point")).to_contain_text("nvme/Composite, ")
    session = page.context.new_cdp_session(page)
    y = box["y"] + box["height"] / 2

    def touch(kind: str, points: list[dict[str, float]]) -> None:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", [{"x": box["x"] + 60, "y": y}])
    for x in range(70, 200, 10):
        touch("touchMove", [{"x": box["x"] + x, "y": y}])
    touch("touchEnd", [])
    expect(page).to_have_url(re.compile("from=.*to="))
    first, last = range_in_url(page)
    assert 600 < (last - first).total_seconds() < 3000


def test_the_keyboard_walks_the_points_and_each_is_spoken_and_has_its_readings(
    history: Fleet, visit: Visit
) -> None:
    page = visit(history.worker).open(host_path())
    figure, said = chart(page, "coretemp"), page.locator("[role=status][aria-live]")
    figure.locator(".plot").focus()
    page.keyboard.press("Home")
    # After midnight, the point of an hour before has its day.
    time = r"(\d+ \w+ \d{4}, )?\d\d:\d\d:\d\d"
    expect(said).to_have_text(re.compile(rf"^coretemp/Core 0, {time}: \d\d\.\d\u00a0°C$"))
    first = said.inner_text()
    page.keyboard.press("Shift+ArrowRight")
    expect(said).not_to_have_text(first)
    page.keyboard.press("Shift+ArrowLeft")
    expect(said).to_have_text(first)
    page.keyboard.press("ArrowDown")
    expect(said).to_have_text(re.compile(r"^coretemp/Core 1, "))
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Readings of this point")
    expect(dialog.locator("li")).to_have_count(1)
    value = re.search(r"[\d.]+\u00a0°C", first)
    assert value
    expect(dialog.locator("strong")).to_have_text(value[0])
    expect(dialog).to_contain_text(f"{history.workspace.topic} / partition ")
    stored = requests.get(
        f"{history.worker.url}/api/v1/plugins/Temperature/hosts/{HOST}/readings",
        {"from": dialog.locator("time").first.get_attribute("datetime"), "metric": "coretemp/Core 0"},
        timeout=10,
    ).json()["readings"][0]
    expect(dialog.locator("code")).to_have_text(stored["id"])
    expect(dialog.locator("dl")).to_contain_text(f"offset {stored['offset']}")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert "plot" in page.evaluate("document.activeElement.className")


@pytest.mark.parametrize(("scheme", "locale", "width"), [("light", "en-GB", 1280), ("dark", "ru-RU", 390)])
def test_axe_finds_nothing(history: Fleet, visit: Visit, scheme: str, locale: str, width: int) -> None:
    visitor = visit(
        history.worker, color_scheme=scheme, locale=locale, viewport={"width": width, "height": 800}
    )
    visitor.context.add_init_script(axe_script())
    page = visitor.open(host_path(range="6h", compare="day"))
    expect(page.locator("figure.chart canvas").first).to_be_visible()
    page.locator("figure.chart").first.get_by_role("button").first.click()
    page.locator(".latest summary").first.click()
    page.locator(".prove").first.click()
    expect(page.locator(".recount[data-state=equal]")).to_be_visible()
    assert violations(page) == []
    page.locator(".latest button").first.click()
    expect(page.get_by_role("dialog").locator("li").first).to_be_visible()
    assert violations(page) == []
