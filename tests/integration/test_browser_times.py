"""Times in a browser: what is typed and shown is exact, also when clocks change, and at midnight."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, Route, expect

from tests.integration.conftest import Visit
from tests.support.browser import UPDATES, called
from tests.support.fleet import Fleet
from tests.support.host_page import host_path, range_in_url, wait_for_host

pytestmark = pytest.mark.any_broker


def seconds(text: str) -> int:
    """Since 1970, of a time in UTC."""
    return int(datetime.fromisoformat(f"{text}Z").timestamp())


def test_a_range_is_typed(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open(host_path(range="30d"))
    expect(page.get_by_role("link", name="30 d", exact=True)).to_have_attribute("aria-current", "true")
    first, last, show = (
        page.get_by_label("From", exact=True),
        page.get_by_label("To", exact=True),
        page.get_by_role("button", name="Show", exact=True),
    )
    first.fill("2026-07-01T14:00")
    last.fill("2026-07-01T13:00:30")
    show.click()
    assert last.evaluate("(input) => input.validationMessage") == "The end must be after the start."
    assert "range=30d" in page.url
    last.fill("2026-07-01T16:00:30")
    show.click()
    # The browser's zone is Europe/Berlin.
    expect(page).to_have_url(re.compile("from="))
    assert range_in_url(page) == (
        datetime(2026, 7, 1, 12, tzinfo=UTC),
        datetime(2026, 7, 1, 14, 0, 30, tzinfo=UTC),
    )
    expect(page.locator(".range-bar .live")).to_have_text("1 Jul 2026, 14:00 – 16:00")


def test_a_time_that_is_not_changed_stays_when_clocks_are_put_back(history: Fleet, visit: Visit) -> None:
    """02:30 is there twice: typed, it would be the first one."""
    path = host_path(**{"from": "2026-10-25T01:30:00Z", "to": "2026-10-25T05:00:00Z"})
    page = visit(history.worker).open(path)
    expect(page.get_by_label("From", exact=True)).to_have_value("2026-10-25T02:30")
    page.get_by_label("To", exact=True).fill("2026-10-25T04:00")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page).to_have_url(re.compile("to=2026-10-25T03%3A00%3A00Z"))
    assert range_in_url(page)[0] == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_what_is_written_of_a_time_is_one_time(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open()
    spans = {
        ("2026-10-25T00:50:00", "2026-10-25T01:10:00"): "25 Oct 2026, 02:50 CEST – 02:10 CET",
        ("2026-10-25T12:00:00", "2026-10-25T12:10:00"): "25 Oct 2026, 13:00 – 13:10",
        ("2025-11-30T09:35:00", "2026-11-30T09:35:00"): "30 Nov 2025, 10:35 – 30 Nov 2026, 10:35",
        ("2026-11-28T09:35:00", "2026-11-30T09:35:00"): "28 Nov 2026, 10:35 – 30 Nov, 10:35",
    }
    texts = called(page, "times.js", "timeSpan", *([seconds(each) for each in span] for span in spans))
    assert [each.replace("\u00a0", " ") for each in texts] == list(spans.values())


def test_after_midnight_a_time_of_the_day_before_has_its_day(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open(host_path())
    page.locator(".latest summary").first.click()
    page.locator(".latest button").first.click()
    instant = page.locator("dialog time.instant").first
    text = instant.inner_text()
    assert re.fullmatch(r"(\d+ \w+ \d{4}, )?\d\d:\d\d:\d\d", text)
    page.evaluate("const { now } = Date; Date.now = () => now() + 86_400_000;")
    day = (datetime.now(UTC) - timedelta(days=1)).year
    expect(instant).to_have_text(re.compile(rf"^\d+ \w+ ({day}|{day + 1}), \d\d:\d\d:\d\d$"))


def test_recent_ranges_are_as_old_as_their_charts(history: Fleet, visit: Visit) -> None:
    """Also one that does not move, such as today's: more readings of it are expected."""
    now = datetime.now(UTC)
    span = {"from": f"{now - timedelta(hours=20):%FT%TZ}", "to": f"{now + timedelta(hours=4):%FT%TZ}"}
    page = visit(history.worker).open(host_path(**span))
    expect(page.locator("figure").first).to_be_visible()
    page.evaluate(UPDATES, 4)
    expect(page.locator(".freshness")).to_have_text(re.compile(r"^2\d s ago$"))


def test_a_selected_cell_of_the_map_over_time_follows_its_host_and_time(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open("/?map=Temperature&over=1h")
    expect(page.locator(".time-map .names li").first).to_be_visible()
    names = page.locator(".time-map .names li").all_inner_texts()
    page.locator(".cells:visible").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    option = page.locator(".cells:visible [role=option]")
    time = re.search(r"\d\d:\d\d", option.inner_text())
    assert time
    expect(option).to_have_text(re.compile(rf"^{names[-1]}, .*{time[0]}: "))
    host = "another"

    def moved(route: Route) -> None:
        """There is a host before it, and a step less."""
        response = route.fetch()
        found = response.json()
        found["host"] = [found["host"][-1], host, *found["host"][:-1]]
        rows = [row[1:] for row in found["average"]]
        found["average"] = [rows[-1], rows[0], *rows[:-1]]
        start = datetime.fromisoformat(found["from"]) + timedelta(seconds=found["step_seconds"])
        route.fulfill(response=response, json=found | {"from": f"{start.astimezone(UTC):%FT%TZ}"})

    page.route("**/headlines*", moved)
    page.evaluate(UPDATES, 7)
    expect(page.locator(".time-map .names li").nth(1)).to_have_text(host)
    expect(page.locator(".cells:visible + *, .cells:visible .tip").first).to_contain_text(names[-1])
    expect(option).to_have_text(re.compile(rf"^{names[-1]}, .*{time[0]}: "))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"name={names[-1]}$"))


def test_what_is_typed_into_the_search_is_not_lost(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open()
    field = page.get_by_role("searchbox")
    field.press_sequentially("a ")
    expect(page).to_have_url(re.compile(r"search=a$"))
    field.press_sequentially("b")
    expect(page).to_have_url(re.compile(r"search=a\+b$"))
    expect(field).to_have_value("a b")
    # A link that is clicked before the search began.
    field.fill("")
    expect(page).not_to_have_url(re.compile("search="))
    click_while_typing(page, "web")
    expect(page).to_have_url(re.compile("sort=host.*search=web|search=web.*sort=host"))
    expect(field).to_have_value("web")


def click_while_typing(page: Page, text: str) -> None:
    page.evaluate(
        """(text) => {
            const field = document.querySelector("input[type=search]");
            field.value = text;
            field.dispatchEvent(new Event("input"));
            document.querySelector("th[data-column=host] a").click();
        }""",
        text,
    )


def test_dialogs_that_were_closed_leave_nothing(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open(host_path())
    page.locator(".latest summary").first.click()
    page.evaluate("globalThis.dialogs = []")
    for _ in range(5):
        page.locator(".latest button").first.click()
        expect(page.locator("dialog li").first).to_be_visible()
        page.evaluate("dialogs.push(new WeakRef(document.querySelector('dialog')))")
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_have_count(0)
    browser = page.context.new_cdp_session(page)
    for _ in range(3):
        browser.send("HeapProfiler.collectGarbage")
    # The browser itself may keep the last one.
    assert page.evaluate("dialogs.filter((each) => each.deref()).length") <= 1


def test_hosts_are_listed_on_pages(history: Fleet, visit: Visit) -> None:
    history.send("Temperature", "core/0", {f"many-{number:03}": 40.0 for number in range(101)})
    wait_for_host(history, "many-100")
    page = visit(history.worker).open("/?search=many-&sort=host")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(100)
    pager = page.get_by_role("navigation", name="Pages")
    expect(pager).to_contain_text("1–100 of 101")
    pager.get_by_role("link", name="Next").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("many-100")
    expect(page).to_have_url(re.compile("search=many-&sort=host&page=2$"))
    page.go_back()
    expect(rows).to_have_count(100)
