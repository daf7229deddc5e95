"""The charts of hosts beside each other."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Route, expect

from tests.integration.conftest import Visit
from tests.support.broker import Broker
from tests.support.browser import axe_script, used_memory, violations
from tests.support.compared_hosts import (
    COOL,
    CORES,
    GAP,
    HOSTS,
    LONG,
    MINUTES,
    OTHER,
    compare_path,
    compared,
    compared_hosts,
    small,
)
from tests.support.fleet import Fleet
from tests.support.host_page import CANVAS_TEXTS, chart, drag, host_path, range_in_url, scales

pytestmark = pytest.mark.any_broker
FOUR = ("web-1", "web-2", COOL, OTHER)


@pytest.fixture(scope="module")
def fleet(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with compared_hosts(broker, tmp_path_factory.mktemp("fleet")) as running:
        yield running


def test_each_host_has_a_chart_with_the_scale_of_all(fleet: Fleet, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    visitor.context.add_init_script(CANVAS_TEXTS)
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url))
    page = visitor.open(compare_path(*FOUR, range="1h"))
    for title in ("Processor", "Cores", "acpi", "coretemp"):
        expect(chart(page, title).locator(".small-charts .of-host .name")).to_have_text(list(FOUR))
    expect(chart(page, "Processor").locator("canvas")).to_have_count(4)
    first, *others = scales(chart(page, "Processor"))
    assert others == [first] * 3
    assert first != []
    one, other = scales(chart(page, "coretemp"))
    assert one == other != []
    # The same line looks the same in each chart, and is once in the legend.
    expect(chart(page, "Cores").locator(".chart-legend li")).to_have_count(CORES)
    expect(small(chart(page, "Cores"), "web-1").locator("canvas")).to_be_visible()
    # What a host does not have is said in words.
    expect(small(chart(page, "Cores"), OTHER)).to_contain_text(
        "No readings of these metrics in this time range."
    )
    expect(small(chart(page, "coretemp"), COOL)).to_contain_text("This host does not send Temperature.")
    expect(small(chart(page, "coretemp"), COOL).locator(".state")).to_be_hidden()
    expect(small(chart(page, "coretemp"), "web-1").locator(".state")).to_have_text("OK")
    expect(small(chart(page, "coretemp"), "web-1").locator(".number")).to_have_text(
        re.compile(r"^max \d\d\.\d.°C$")
    )
    link = small(chart(page, "coretemp"), "web-1").get_by_role("link")
    expect(link).to_have_attribute("href", host_path("web-1", range="1h"))
    # Strings are over each other, equal ones in the same colour.
    expect(page.locator(".words-of-host .of-host .name")).to_have_text(list(FOUR))
    words = page.locator(".states li")
    expect(words.locator("span:first-child")).to_have_text(["active", "active", "failed"])
    assert [each.get_attribute("data-word") for each in words.all()] == ["0", "0", "1"]
    # At each refresh, each host and plugin with one request.
    asked.clear()
    page.get_by_role("link", name="15 min").click()
    expect(link).to_have_attribute("href", host_path("web-1", range="15m"))
    page.wait_for_timeout(3000)
    loaded = [re.findall(r"/plugins/(\w+)/hosts/([^/]+)/\w+\?from=([^&]+)", url) for url in asked]
    requests = [found[0] for found in loaded if found]
    assert len(requests) == len(set(requests)) >= 4 + 3 + 2
    expect(page.get_by_label("Compare with")).to_be_hidden()
    expect(page.get_by_label("Lines", exact=True)).to_be_hidden()


def test_they_have_one_cursor_and_one_range(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open(compare_path(*FOUR, range="1h"))
    figure = chart(page, "Processor")
    values = figure.locator(".small-charts .number")
    figure.locator(".plot").focus()
    page.keyboard.press("Home")
    expect(values).to_have_text(["70\u00a0%", "80\u00a0%", "62\u00a0%", "34\u00a0%"])
    expect(page.get_by_role("status")).to_have_text(
        re.compile(r"^web-1, CPU/total, \d\d:\d\d – \d\d:\d\d: 70\u00a0%")
    )
    expect(small(chart(page, "coretemp"), "web-1").locator(".number")).to_have_text("max 49.0\u00a0°C")
    lines = page.locator(".u-cursor-x").evaluate_all("(all) => all.map(({ style }) => style.transform)")
    assert len(lines) == 4 + 3 + 1 + 2
    assert len({line for line in lines[:4]}) == 1
    # Down is the same metric of the next host.
    page.keyboard.press("ArrowDown")
    expect(figure.locator("[data-highlighted] .name")).to_have_text("web-2")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Readings of this point")
    expect(dialog.locator("li")).to_have_count(1)
    expect(dialog.locator("li strong")).to_have_text("80\u00a0%")
    page.keyboard.press("Escape")
    # The legend highlights and hides a line in all charts.
    core = chart(page, "Cores").locator(".chart-legend button", has=page.get_by_text("CPU/7", exact=True))
    core.click()
    expect(core).to_have_attribute("aria-pressed", "false")
    # A range that is dragged over in one chart is that of all, and of the URL.
    drag(page, small(figure, COOL), 0.6, 0.9)
    expect(page).to_have_url(re.compile("host=web-4&from="))
    start, end = range_in_url(page)
    assert 900 < (end - start).total_seconds() < 1300
    link = small(chart(page, "coretemp"), "web-1").get_by_role("link")
    expect(link).to_have_attribute("href", re.compile("name=web-1&from=20.*&to=20"))
    captions = page.locator("figcaption")
    shown = {text.split(", averages")[0] for text in captions.all_inner_texts()}
    assert len(shown) == 1
    figure.locator(".plot").focus()
    page.keyboard.press("-")
    expect(page).not_to_have_url(re.compile(re.escape(f"to={end:%Y-%m-%dT%H}%3A{end:%M}%3A{end:%S}Z$")))
    page.go_back()
    page.go_back()
    expect(page).to_have_url(fleet.worker.url + compare_path(*FOUR, range="1h"))
    expect(compared(page)).to_have_text(list(FOUR))
    # Among the keys of a chart, those of its links are theirs.
    figure.locator(".plot").focus()
    page.keyboard.press("End")
    link = small(figure, "web-2").get_by_role("link")
    expect(link).to_have_attribute("href", host_path("web-2", range="1h"))
    link.press("Enter")
    expect(page).to_have_url(fleet.worker.url + host_path("web-2", range="1h"))


def test_the_same_as_tables(fleet: Fleet, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    page = visitor.page
    page.route("**/api/v1/plugins", lambda route: route.fulfill(json=_lowest(route.fetch().json())))
    visitor.open(compare_path(*FOUR[:2], range="1h"))
    row = chart(page, "coretemp")
    expect(small(row, "web-1").locator(".number")).to_have_text(re.compile(r"^min \d\d\.\d.°C$"))
    row.get_by_role("button", name="Show as table").click()
    expect(row.locator("canvas")).to_have_count(0)
    head = row.locator("thead th")
    expect(head).to_have_text(["Time", "Metric", "web-1", "web-2"])
    last = row.locator("tbody tr").last.locator("td")
    expect(last).to_have_text(
        [re.compile(r"\d\d:\d\d:00$"), "coretemp/Core 1", "49.0\u00a0°C", "54.0\u00a0°C"]
    )
    row.get_by_role("button", name="Show as chart").click()
    expect(row.locator("canvas")).to_have_count(2)
    page.route(
        "**/uplot.js", lambda route: route.fulfill(body="export default null", content_type="text/javascript")
    )
    page.reload()
    expect(page.locator(".compare-view > .note")).to_contain_text("Charts are shown as tables")
    expect(head).to_have_text(["Time", "Metric", "web-1", "web-2"])


def _lowest(found: dict[str, list[dict[str, dict[str, object]]]]) -> object:
    for plugin in found["plugins"]:
        plugin["panel"]["headline"] = {"metric": None, "statistic": "minimum"}
    return found


@pytest.mark.parametrize(("scheme", "locale", "width"), [("light", "en-GB", 1280), ("dark", "ru-RU", 360)])
def test_axe_finds_nothing(fleet: Fleet, visit: Visit, scheme: str, locale: str, width: int) -> None:
    visitor = visit(
        fleet.worker, color_scheme=scheme, locale=locale, viewport={"width": width, "height": 800}
    )
    visitor.expected = ["status of 404"]
    visitor.context.add_init_script(axe_script())
    page = visitor.open(compare_path("web-1", COOL, "nobody", LONG, range="15m"))
    expect(page.locator(".small-charts canvas").first).to_be_visible()
    assert violations(page) == []
    page.locator(".chart button[aria-pressed]").first.click()
    for each in (360, 740, width):
        page.set_viewport_size({"width": each, "height": 800})
        page.wait_for_function("(width) => document.documentElement.scrollWidth === width", arg=each)
    page.locator(".links a").click()
    for number in range(8):
        page.locator("tbody input").nth(number).check()
    assert violations(page) == []
    for each in (360, 740, width):
        page.set_viewport_size({"width": each, "height": 800})
        page.wait_for_function("(width) => document.documentElement.scrollWidth === width", arg=each)


def test_the_steps_of_hosts_that_have_different_ones_are_named(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open("/")

    def coarser(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "step_seconds": 300})

    page.route("**/plugins/Temperature/hosts/web-2/columns*", coarser)
    page.goto(compare_path("web-1", "web-2", range="1h"))
    expect(chart(page, "coretemp").locator("figcaption")).to_contain_text("averages of 1 min – 5 min.")
    expect(chart(page, "Processor").locator("figcaption")).to_contain_text("averages of 1 min.")


def test_nothing_is_left_of_charts_that_are_not_shown(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open(compare_path(*FOUR[:2], range="15m"))

    def leave_and_return(times: int) -> None:
        for _ in range(times):
            page.locator("header nav").get_by_role("link", name="Hosts").click()
            expect(page.locator("table.hosts")).to_be_visible()
            page.go_back()
            expect(chart(page, "coretemp").locator("canvas").first).to_be_visible()
            page.get_by_role("button", name="Remove web-2").click()
            expect(chart(page, "Processor").locator("canvas")).to_have_count(1)
            page.go_back()
            expect(chart(page, "Processor").locator("canvas")).to_have_count(2)

    # The browser keeps the view that was left last, but none of those before it.
    leave_and_return(2)
    _, nodes, listeners = used_memory(page)
    leave_and_return(5)
    _, nodes_after, listeners_after = used_memory(page)
    assert nodes_after < 1.1 * nodes
    assert listeners_after < 1.1 * listeners


def test_words_of_one_host_and_numbers_of_another_are_both_shown(fleet: Fleet, visit: Visit) -> None:
    """Of a plugin whose `numeric_value` is None for some readings."""
    page = visit(fleet.worker).open("/")
    services = "**/plugins/Services/hosts/web-2"

    def columns(route: Route) -> None:
        answer = route.fetch()
        start = int(time.time()) - 600
        numbers = {"average": [1.0, 2.0], "minimum": [1.0, 2.0], "maximum": [1.0, 2.0], "count": [1, 1]}
        found = {**answer.json(), "series": {"sshd": {"at": [start, start + 60], **numbers}}}
        route.fulfill(response=answer, json=found)

    def readings(route: Route) -> None:
        answer = route.fetch()
        found = answer.json()
        for each in found["readings"]:
            each["numeric_value"] = 1.0
        route.fulfill(response=answer, json=found)

    page.route(f"{services}/columns*", columns)
    page.route(f"{services}/readings*", readings)
    page.goto(compare_path("web-1", "web-2", range="1h"))
    for preset in ("6 h", "1 h", "15 min"):
        expect(small(chart(page, "Services"), "web-2").locator("canvas")).to_be_visible()
        expect(page.locator(".words-of-host .of-host .name")).to_have_text(["web-1"])
        with page.expect_response(f"{services}/columns*"):
            page.get_by_role("link", name=preset, exact=True).click()


def test_a_selected_point_is_not_scrolled_to_at_each_refresh(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open(compare_path(*HOSTS[:8], range="15m"))
    plot = chart(page, "coretemp").get_by_role("application")
    plot.press("ArrowLeft")
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    for _ in range(2):
        with page.expect_response("**/plugins/Temperature/hosts/web-8/columns*"):
            pass
    page.wait_for_timeout(500)
    assert page.evaluate("scrollY") == 0
    expect(chart(page, "coretemp").locator(".point")).to_be_visible()


@pytest.mark.parametrize("selected", ["Processor", "coretemp"])
def test_going_back_from_where_one_host_has_nothing_shows_all_again(
    fleet: Fleet, visit: Visit, selected: str
) -> None:
    """The selected point of one host is the cursor of all charts, of which some are made again."""
    # The past is loaded every five minutes: it is not a second time that mends what is shown.
    since, until = (
        datetime.fromtimestamp(time.time() - 60 * minutes, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for minutes in (MINUTES + 1, 3)
    )
    path = compare_path("web-2", "web-1", **{"from": since, "to": until})
    page = visit(fleet.worker).open(path)
    # Processor is the first one on the page.
    figure, other = chart(page, selected), chart(page, "coretemp" if selected == "Processor" else "Processor")
    expect(figure.locator("canvas")).to_have_count(2)
    plot = figure.get_by_role("application")
    plot.press("Home")
    plot.press("ArrowDown")
    # Into the gap of web-2.
    plot.press("Shift+ArrowRight")
    for _ in range(MINUTES - GAP[len(GAP) // 2] - 10):
        plot.press("ArrowRight")
    at, value = (figure.locator(".at").inner_text(), small(figure, "web-1").locator(".number").inner_text())
    assert at
    for _ in range(5):
        plot.press("+")
        # A zoom is of the range that is shown.
        expect(page.locator(".plugins.waiting")).to_have_count(0)
    expect(small(figure, "web-2")).to_contain_text("No readings in this time range.")
    expect(figure.locator("canvas")).to_have_count(1)
    for _ in range(5):
        page.go_back()
    expect(page).to_have_url(fleet.worker.url + path)
    expect(figure.locator("canvas")).to_have_count(2)
    expect(other.locator("canvas")).to_have_count(2)
    for each in (figure, other):
        expect(each.locator(".at")).to_have_text(at)
    expect(small(figure, "web-1").locator(".number")).to_have_text(value)
    # Where the selected point is not in the range, keys are relative to the range.
    page.get_by_role("button", name="Earlier").click()
    expect(page.locator(".plugins.waiting")).to_have_count(0)
    expect(figure.locator(".point")).to_be_hidden()
    start, end = range_in_url(page)
    plot.press("-")
    expect(page.locator(".plugins.waiting")).to_have_count(0)
    wider = range_in_url(page)
    assert abs((wider[0] - start) + (wider[1] - end)).total_seconds() < 10


def test_one_point_is_selected_since_all_charts_have_one_cursor(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open(compare_path("web-1", "web-3", range="1h"))
    figure, processor = chart(page, "coretemp"), chart(page, "Processor")
    processor.get_by_role("application").press("Home")
    expect(processor.locator(".point")).to_be_visible()
    figure.get_by_role("application").press("End")
    expect(figure.locator(".point")).to_be_visible()
    expect(processor.locator(".point")).to_be_hidden()
    expect(processor.locator("[data-highlighted]")).to_have_count(0)
    at = figure.locator(".at").inner_text()
    # Also when they have been loaded again.
    for _ in range(2):
        with page.expect_response("**/plugins/PU_Workload/hosts/web-3/columns*"):
            pass
    page.wait_for_timeout(300)
    for each in (figure, processor):
        expect(each.locator(".at")).to_have_text(at)
