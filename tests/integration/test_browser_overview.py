"""The overview in a browser: what a worker knows is shown, filtered, sorted, and stays current."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Error, Page, expect

from tests.integration.conftest import Visit
from tests.support.broker import Broker
from tests.support.browser import UPDATES
from tests.support.fleet import Fleet, small_fleet

pytestmark = pytest.mark.any_broker
CUT = """
    [...document.querySelectorAll("input[placeholder]")].filter((input) => {
        const style = getComputedStyle(input);
        const context = document.createElement("canvas").getContext("2d");
        context.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
        const room = input.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
        return context.measureText(input.placeholder).width > room;
    }).map((input) => input.placeholder)
"""
"""The placeholders that are wider than their fields."""
PALE = """
    (canvas) => {
        const [size, pitch] = [44, 47];
        const { data } = canvas.getContext("2d").getImageData(0, size / 2, 12 * pitch, 1);
        return [...Array(12).keys()].filter((cell) => data[4 * (cell * pitch + 4) + 3] < 255);
    }
"""
"""Which of the twelve cells in the first row of a map are pale."""


@pytest.fixture(scope="module")
def fleet(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with small_fleet(broker, tmp_path_factory.mktemp("fleet")) as running:
        yield running


def rows(page: Page) -> list[str]:
    """The hosts of the table, in their order."""
    return page.locator("table.hosts tbody th").all_inner_texts()


def test_hosts_are_shown_with_their_states_the_worst_first(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open()
    expect(page).to_have_title("Hosts · Sparkle-M")
    expect(page.locator("table.hosts tbody tr")).to_have_count(12)
    assert rows(page)[:4] == ["host-12", "host-01", "host-02", "host-03"]
    states = page.locator("table.hosts .state").all_inner_texts()
    assert states == ["Silent", "Critical", "Warning", "Warning", *["OK"] * 8]
    assert page.locator(".chip:visible").all_inner_texts() == [
        "All\n12",
        "Silent\n1",
        "Critical\n1",
        "Warning\n2",
        "OK\n8",
    ]
    # The shades end at the first threshold.
    expect(page.locator(".legend span").first).to_have_text("0\u00a0%80\u00a0%")
    hottest = page.locator("tbody tr", has_text="host-01").locator(".of-plugin .number")
    # PU_Workload, which it does not have, and Temperature.
    expect(hottest).to_have_text(["–", "97.0\u00a0°C"])
    silent = page.locator(".silent-hosts")
    expect(silent).to_contain_text("1 host has fallen silent")
    expect(silent.get_by_role("link", name="host-12")).to_be_visible()
    # Near midnight, with the day.
    since = re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}$")
    expect(silent.locator("time")).to_have_text([since, re.compile("4[0-9] min ago")])


def test_what_is_chosen_is_in_the_url_and_the_back_button_undoes_it(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open()
    page.get_by_role("link", name="Warning 2").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    assert page.url.endswith("/?state=warning")
    page.get_by_role("columnheader", name="Temperature").get_by_role("link").click()
    expect(page.locator("tbody th").first).to_have_text("host-02")
    assert page.url.endswith("/?state=warning&sort=-Temperature")
    page.get_by_role("searchbox").fill("03")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert page.url.endswith("&search=03")
    page.reload()
    expect(page.locator("tbody th")).to_have_text(["host-03"])
    expect(page.get_by_role("searchbox")).to_have_value("03")
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(12)
    expect(page.get_by_role("searchbox")).to_have_value("")


def test_the_maps_have_the_hosts_of_the_table(fleet: Fleet, visit: Visit) -> None:
    """Of the two in a state of warning, host-03 is by its load, not by its temperature."""
    page = visit(fleet.worker).open("/?state=warning&map=Temperature")
    expect(page.locator("tbody th")).to_have_text(["host-02", "host-03"])
    assert page.locator(".cells:visible canvas").evaluate(PALE) == [0, *range(3, 12)]
    page = visit(fleet.worker).open("/?state=warning&map=Temperature&over=1h")
    expect(page.locator(".time-map .names li")).to_have_text(["host-02", "host-03"])
    page = visit(fleet.worker).open("/?map=PU_Workload&over=1h&search=host-01")
    expect(page.locator(".nothing:visible")).to_have_text(
        "None of the hosts in the table has sent numbers of this plugin."
    )


def test_filters_that_match_nothing_can_be_cleared(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open("/?state=warning&search=nobody&sort=host")
    expect(page.locator(".nothing:visible")).to_have_text("No host matches. Clear filters")
    page.get_by_role("link", name="Clear filters").click()
    expect(page.locator("tbody tr")).to_have_count(12)
    expect(page.get_by_role("searchbox")).to_have_value("")
    assert page.url.endswith("/?sort=host")


def test_while_a_worker_starts_no_number_of_hosts_is_stated(fleet: Fleet, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    _, found = fleet.worker.get("/api/v1/overview")
    part = {"plugin": "PU_Workload", "worker": None, "partitions": [0, 1], "as_of": None, "problem": "why"}
    nothing = {"hosts": [], "silent_hosts": [], "total": 0, "outdated": [part]}
    starting = found | nothing | {"states": dict.fromkeys(found["states"], 0)}
    visitor.page.route("**/api/v1/overview?*", lambda route: route.fulfill(json=starting))
    page = visitor.open()
    expect(page.get_by_text("The hosts are not known yet.")).to_be_visible()
    expect(page.get_by_role("link", name="Clear filters")).to_have_count(0)
    expect(page.locator(".notes")).to_have_text("Load: 2 partitions are not up to date: why")
    expect(page.locator(".chips")).to_be_hidden()
    expect(page.locator("h1")).to_have_text("Hosts")
    visitor.page.unroute("**/api/v1/overview?*")
    expect(page.locator("tbody tr")).to_have_count(12)
    expect(page.locator(".chips")).to_be_visible()


def test_a_page_after_the_last_one_becomes_the_last_one(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open("/?page=9&search=host-0")
    expect(page.locator("tbody tr")).to_have_count(9)
    assert page.url.endswith("/?search=host-0")
    # The worker would refuse to skip so many hosts.
    page.goto("/?page=1e9")
    expect(page.locator("tbody tr")).to_have_count(12)
    expect(page).to_have_url(f"{fleet.worker.url}/")


def test_hosts_that_were_sorted_by_a_plugin_that_is_gone_are_sorted_by_state(
    fleet: Fleet, visit: Visit
) -> None:
    page = visit(fleet.worker).open("/?sort=-GPU&search=host")
    expect(page.locator("tbody th").first).to_have_text("host-12")
    expect(page.get_by_role("columnheader", name="State")).to_have_attribute("aria-sort", "ascending")
    expect(page.locator(".banner")).to_be_hidden()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("locale", ["en-GB", "ru-RU"])
def test_times_below_the_map_are_whole_and_apart(fleet: Fleet, visit: Visit, width: int, locale: str) -> None:
    page = visit(fleet.worker, locale=locale, viewport={"width": width, "height": 800}).open(
        "/?map=Temperature&over=24h"
    )
    marks = page.locator(".time-map .axis span")
    expect(marks.first).to_be_visible()
    places = [each.bounding_box() for each in marks.all()]
    axis = page.locator(".time-map .axis").bounding_box()
    assert axis
    ends = [axis["x"], *(each["x"] + each["width"] for each in places if each)]
    starts = [*(each["x"] for each in places if each), axis["x"] + axis["width"]]
    assert all(end <= start + 1 for end, start in zip(ends, starts, strict=True)), (ends, starts)
    texts = marks.all_inner_texts()
    assert len(texts) >= 2
    assert all(re.match(r"\d\d:00(\n|$)", each) for each in texts), texts
    # The map begins yesterday.
    assert "\n" in texts[0]


@pytest.mark.parametrize(("zone", "least"), [("UTC", 2), ("Asia/Kathmandu", 2), ("Europe/Berlin", 1)])
def test_at_every_time_there_are_times_below_a_narrow_map(
    fleet: Fleet, visit: Visit, zone: str, least: int
) -> None:
    """Ranges of an hour to 30 days, with both ends rounded outward to whole steps, as /headlines does it.

    In the night without 02:00, six hours can have a single one.
    """
    page = visit(fleet.worker, timezone_id=zone).open("/")
    found = page.evaluate(
        """async ([width, ranges]) => {
            const base = document.querySelector("script[src]").src.replace(/[^/]*$/, "");
            const { placedMarks } = await import(`${base}time_axis.js`);
            const day = Date.UTC(2026, 2, 10) / 1000;
            return ranges.map(([seconds, step]) => {
                const all = Array.from({ length: 4 * 24 * 40 }, (_, number) => {
                    const from = day + number * 900 + 60;
                    const start = Math.floor(from / step) * step;
                    const end = Math.ceil((from + seconds) / step) * step;
                    return placedMarks(start, end, width).map(([, left]) => left);
                });
                const gaps = all.flatMap((lefts) => lefts.slice(1).map((left, index) => left - lefts[index]));
                return [Math.min(...all.map((lefts) => lefts.length)), Math.min(...gaps)];
            });
        }""",
        [210, [[3600, 60], [6 * 3600, 300], [24 * 3600, 900], [7 * 86400, 7200], [30 * 86400, 43200]]],
    )
    assert all(count >= least and gap >= 48 for count, gap in found), found


def test_a_map_that_is_kept_is_as_old_as_it_is(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open("/?map=Temperature&over=1h")
    expect(page.locator(".time-map")).to_be_visible()
    page.evaluate(UPDATES, 4)
    expect(page.locator(".freshness")).to_have_text(re.compile(r"^2\d s ago$"))
    # After half a minute, it is requested again.
    page.evaluate(UPDATES, 3)
    expect(page.locator(".freshness")).to_have_text(re.compile(r"^\d s ago$"))


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("en-GB", "The map of 7 d is not ready yet. It is drawn from hourly averages"),
        ("ru-RU", "Карта за 7 д ещё не готова. Она строится по часовым средним"),
    ],
)
def test_a_map_that_would_need_hours_says_so(fleet: Fleet, visit: Visit, locale: str, text: str) -> None:
    visitor = visit(fleet.worker, locale=locale)
    visitor.expected = ["status of 400"]
    detail = (
        "from: expected at most 160000 stored buckets of all hosts, found 518400; use a shorter time range"
    )
    problem = {"title": "Bad Request", "status": 400, "detail": detail, "limit": "buckets"}
    visitor.page.route("**/headlines?*", lambda route: route.fulfill(status=400, json=problem))
    page = visitor.open("/?map=Temperature&over=7d")
    expect(page.locator(".nothing:visible")).to_contain_text(text)
    expect(page.locator(".time-map")).to_be_hidden()
    expect(page.locator("table.hosts tbody tr")).to_have_count(12)
    # As the text says, it appears by itself.
    visitor.page.unroute("**/headlines?*")
    expect(page.locator(".time-map")).to_be_visible()


def test_a_map_for_which_the_database_takes_too_long_delays_nothing_else(fleet: Fleet, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    visitor.expected = ["status of 504"]
    # As a request that takes too long: there is no answer.
    late = {"title": "Gateway Timeout", "status": 504, "detail": "No answer from the database"}
    visitor.page.route("**/headlines?*", lambda route: route.fulfill(status=504, json=late))
    page = visitor.open("/?map=Temperature&over=7d")
    expect(page.locator(".nothing:visible")).to_have_text("No answer from the database")
    expect(page.locator("table.hosts tbody tr")).to_have_count(12)
    expect(page.locator(".banner")).to_be_hidden()
    visitor.page.unroute("**/headlines?*")
    expect(page.locator(".time-map")).to_be_visible()


def test_every_view_opens(fleet: Fleet, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    page = visitor.open()
    for name, heading, path in [
        ("Dead letters", "Dead letters 0", "/dead-letters"),
        ("Pipeline", "Pipeline 1 worker", "/pipeline"),
        ("Hosts", "Hosts 12", "/"),
    ]:
        page.get_by_role("navigation", name="Main").get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        assert page.url == fleet.worker.url + path
    page.locator("tbody").get_by_role("link", name="host-07").click()
    assert page.url.endswith("/host?name=host-07")
    expect(page.get_by_role("heading", level=1)).to_contain_text("host-07")
    # Nobody has logged in.
    expect(page.get_by_role("button", name="Log out")).to_be_hidden()


def test_the_browser_s_language_is_used_and_another_one_is_kept(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker, locale="ru-RU").open()
    expect(page.get_by_role("heading", level=1)).to_have_text("Хосты 12")
    expect(page.locator(".silent-hosts")).to_contain_text("Замолчал 1 хост")
    expect(page.locator("tbody tr", has_text="host-01").locator(".number").last).to_have_text("97,0\u00a0°C")
    page.get_by_label("Язык").select_option("English")
    expect(page.get_by_role("heading", level=1)).to_have_text("Hosts 12")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Hosts 12")
    assert page.locator("html").get_attribute("lang") == "en"


def test_markup_never_becomes_part_of_the_page(fleet: Fleet, visit: Visit) -> None:
    """Trusted Types are in force."""
    visitor = visit(fleet.worker)
    visitor.expected = ["TrustedHTML", "violates the policy: require-trusted-types-for"]
    page = visitor.open()
    with pytest.raises(Error, match="requires 'TrustedHTML' assignment"):
        page.evaluate("document.body.innerHTML = '<b>x</b>'")
    expect(page.get_by_role("heading", level=1)).to_have_text("Hosts 12")


@pytest.mark.parametrize("locale", ["en-GB", "ru-RU"])
def test_every_view_fits_into_its_window_and_a_placeholder_into_its_field(
    fleet: Fleet, visit: Visit, locale: str
) -> None:
    page = visit(fleet.worker, locale=locale).open()
    for path in ("/", "/dead-letters", "/pipeline", "/host?name=host-01", "/compare?host=host-01"):
        page.goto(path)
        page.locator(".freshness[data-state=fresh]").wait_for()
        for width in (1280, 740, 360):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") == width, path
            assert page.evaluate(CUT) == [], path
