"""Hosts to compare in a browser: chosen, removed and added."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Route, expect

from tests.integration.conftest import Visit
from tests.support.broker import Broker
from tests.support.compared_hosts import HOSTILE, HOSTS, LONG, compare_path, compared, compared_hosts, small
from tests.support.fleet import Fleet
from tests.support.host_page import chart, host_path

pytestmark = pytest.mark.any_broker


@pytest.fixture(scope="module")
def fleet(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with compared_hosts(broker, tmp_path_factory.mktemp("fleet")) as running:
        yield running


def test_hosts_are_chosen_in_the_overview(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open("/?sort=host")
    bar = page.get_by_role("region", name="Comparison")
    expect(page.locator("tbody tr")).to_have_count(len(HOSTS) + 3)
    expect(bar).to_be_hidden()
    page.get_by_role("checkbox", name="Compare web-2", exact=True).check()
    expect(bar).to_contain_text("Select another host to compare with.")
    expect(bar.get_by_role("link")).to_be_hidden()
    # What is chosen stays while others are looked for, in the order of the choice.
    page.get_by_role("searchbox").fill("web-1")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("checkbox", name="Compare web-1", exact=True).press("Space")
    expect(bar.locator("li .name")).to_have_text(["web-2", "web-1"])
    assert "web-2" not in page.url
    bar.get_by_role("link", name="Compare 2 hosts").click()
    expect(page).to_have_url(fleet.worker.url + compare_path("web-2", "web-1"))
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(compared(page)).to_have_text(["web-2", "web-1"])
    page.go_back()
    page.get_by_role("searchbox").fill("")
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(2)
    # Eight at most.
    for host in HOSTS[2:8]:
        page.get_by_role("checkbox", name=f"Compare {host}", exact=True).check()
    ninth = page.get_by_role("checkbox", name="Compare web-9", exact=True)
    expect(ninth).to_be_disabled()
    expect(ninth).to_have_accessible_description("At most 8 hosts can be compared.")
    expect(page.get_by_role("status")).to_have_text("At most 8 hosts can be compared.")
    expect(bar.get_by_role("link", name="Compare 8 hosts")).to_be_visible()
    bar.get_by_role("button", name="Remove web-5").click()
    expect(ninth).to_be_enabled()
    bar.get_by_role("button", name="Clear").click()
    expect(bar).to_be_hidden()
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(0)


def test_the_keyboard_goes_from_a_chosen_host_to_the_comparison(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open("/?sort=host")
    bar = page.get_by_role("region", name="Comparison")
    box = page.get_by_role("checkbox", name="Compare web-1", exact=True)
    link = page.get_by_role("link", name="Go to the selected hosts")
    expect(link).to_have_count(0)
    box.press("Space")
    page.keyboard.press("Tab")
    expect(link).to_be_focused()
    assert link.evaluate("(each) => getComputedStyle(each).clipPath") == "none"
    page.keyboard.press("Enter")
    # There is nothing to follow yet.
    expect(bar).to_be_focused()
    page.get_by_role("checkbox", name="Compare web-2", exact=True).press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(bar.get_by_role("link", name="Compare 2 hosts")).to_be_focused()
    assert page.url.endswith("/?sort=host")
    box.press("Space")
    expect(link).to_have_count(1)


def test_hosts_are_removed_and_added(fleet: Fleet, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    visitor.expected = ["status of 404"]
    page = visitor.open(host_path("web-1", range="6h"))
    page.get_by_role("link", name="Compare with other hosts").click()
    expect(page).to_have_url(fleet.worker.url + compare_path("web-1", range="6h"))
    note = page.locator(".compared-hosts > .note:visible")
    hint = page.locator(".compared-hosts .hint")
    expect(hint).to_have_text("Add another host to compare with.")
    expect(chart(page, "Processor").locator("canvas")).to_have_count(1)
    field = page.get_by_label("Add a host")
    add = page.get_by_role("button", name="Add", exact=True)
    field.fill("eb-3")
    expect(page.locator("datalist option")).to_have_count(1)
    expect(page.locator("datalist option")).to_have_attribute("value", "web-3")
    field.fill("web-3")
    field.press("Enter")
    expect(compared(page)).to_have_text(["web-1", "web-3"])
    expect(chart(page, "Processor").locator("canvas")).to_have_count(2)
    expect(field).to_have_value("")
    expect(field).to_be_focused()
    for text, message in [
        ("web-3", "web-3 is already compared."),
        ("web-33", "No host has the name web-33."),
        ("eb-", "No host has the name eb-. Similar names: web-2, web-4, web-5."),
    ]:
        field.fill(text)
        add.click()
        expect(note).to_have_text(message)
        expect(page.get_by_role("status").last).to_have_text(message)
    # Part of a name, if one other host has it.
    field.fill("eb-5")
    field.press("Enter")
    expect(compared(page)).to_have_text(["web-1", "web-3", "web-5"])
    page.get_by_role("button", name="Remove web-5").click()
    field.fill("..")
    add.click()
    expect(note).to_contain_text("A browser cannot request a host of this name")
    # Of names with what cannot be typed, the suggestion is what is shown of them.
    field.fill("%2F")
    expect(page.locator("datalist option")).to_have_count(1)
    expect(page.locator("datalist option")).to_have_attribute("value", "<b>%2F..⟨U+202E⟩&host=x</b>")
    field.fill("<b>%2F..⟨U+202E⟩&host=x</b>")
    add.click()
    expect(compared(page)).to_have_count(3)
    assert page.evaluate("new URLSearchParams(location.search).getAll('host')[2]") == HOSTILE
    expect(small(chart(page, "coretemp"), "<b>%2F..⟨U+202E⟩&host=x</b>").locator("canvas")).to_be_visible()
    page.get_by_role("button", name="Remove web-1").click()
    expect(compared(page)).to_have_text(["web-3", "<b>%2F..⟨U+202E⟩&host=x</b>"])
    expect(page.get_by_role("button", name="Remove web-3")).to_be_focused()
    expect(chart(page, "Processor").locator(".small-charts > li")).to_have_count(2)
    page.goto(compare_path(*HOSTS, "web-1", "", range="15m"))
    expect(note).to_have_text("1 more host in the URL is not shown: at most 8 can be compared.")
    expect(compared(page)).to_have_text(list(HOSTS[:8]))
    field.fill("web-9")
    add.click()
    expect(note.first).to_have_text("At most 8 hosts can be compared.")
    expect(compared(page)).to_have_count(8)
    page.goto("/compare")
    expect(hint).to_have_text("Add hosts to compare, or select them in the table of all hosts.")


def test_what_is_wrong_is_said(fleet: Fleet, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    visitor.expected = ["status of 503", "status of 400", "status of 404"]
    page = visitor.page
    refused = {"title": "Bad Request", "status": 400, "detail": "from: expected another one"}
    which = re.compile("/Temperature/hosts/web-2/columns")
    page.route(which, lambda route: route.fulfill(status=400, json=refused))
    visitor.open(compare_path("web-1", "web-2", "nobody", "..", LONG))
    row = chart(page, "coretemp")
    missing = row.locator(".missing:visible")
    expect(missing).to_have_text(
        [
            "Cannot be shown: from: expected another one",
            "No host of this name sends readings now.",
            re.compile("^Cannot be shown: A browser cannot request a host of this name"),
        ]
    )
    expect(row.locator("canvas")).to_have_count(2)
    expect(page.locator(".compared-hosts .unknown:visible")).to_have_text(["Unknown host", "Cannot be shown"])
    expect(page.locator(".banner")).to_be_hidden()
    away = {"title": "x", "status": 503, "detail": "not every partition is owned"}
    page.route("**/api/v1/hosts/*", lambda route: route.fulfill(status=503, json=away))
    expect(page.locator(".banner .detail")).to_have_text("not every partition is owned")
    expect(row.locator("canvas")).to_have_count(2)
    page.unroute("**/api/v1/hosts/*")
    page.get_by_role("button", name="Try now").click()
    expect(page.locator(".banner")).to_be_hidden()


def test_what_is_not_up_to_date_is_said_with_its_hosts(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open("/")

    def outdated(route: Route) -> None:
        answer = route.fetch()
        part = {"plugin": "Temperature", "partitions": [1], "problem": "the worker does not answer"}
        route.fulfill(response=answer, json={**answer.json(), "outdated": [part]})

    for host in ("web-1", "web-3"):
        page.route(f"**/api/v1/hosts/{host}", outdated)
    page.goto(compare_path("web-1", "web-2", "web-3", range="1h"))
    expect(page.locator(".compared-hosts .notes .note")).to_have_text(
        ["web-1, web-3: Temperature is not up to date: the worker does not answer"]
    )
