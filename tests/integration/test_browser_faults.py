"""The page when something is wrong: names that would break it, a worker that is killed, one that cannot answer."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Route, expect

from tests.integration.conftest import Visit
from tests.support.broker import Broker
from tests.support.fleet import Fleet

pytestmark = pytest.mark.any_broker

HOSTILE = {
    "<script>alert(1)</script>": "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>": "<img src=x onerror=alert(1)>",
    "right\u202eto left": "right⟨U+202E⟩to left",
    "a\u0007b\u200bc": "a␇b⟨U+200B⟩c",
    "%2F..%00": "%2F..%00",
    "a/b?c#d&name=e": "a/b?c#d&name=e",
    "x" * 1000: "x" * 20 + "…" + "x" * 19,
    "😀 хост": "😀 хост",
    "מארח": "מארח",
    "..": "..",
    "{n} $& `${1}`": "{n} $& `${1}`",
}
"""Hostnames, and what is shown of them."""


@pytest.fixture(scope="module")
def fleet(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(broker, tmp_path_factory.mktemp("fleet")) as fleet:
        fleet.send("Temperature", "<b>core</b>", dict.fromkeys(HOSTILE, 50.0))
        fleet.wait_for(len(HOSTILE))
        yield fleet


def test_names_from_outside_are_shown_as_text(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open("/?sort=host")
    expect(page.locator("tbody tr")).to_have_count(len(HOSTILE))
    assert page.locator("tbody th").all_inner_texts() == [HOSTILE[host] for host in sorted(HOSTILE)]
    assert page.locator("main :is(script, img, b.x)").count() == 0
    long = page.locator("tbody th bdi", has_text="xxx…xxx")
    assert long.get_attribute("title") == "x" * 1000
    values = page.locator("tbody td[data-label=Temperature] .value")
    for number in range(len(HOSTILE)):
        expect(values.nth(number)).to_have_attribute("title", "<b>core</b>")


def test_a_host_of_any_name_is_found_and_opened(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open()
    for host, shown in HOSTILE.items():
        if host == "..":
            # A part of other names.
            continue
        page.get_by_role("searchbox").fill(host[:60])
        expect(page.locator("tbody tr")).to_have_count(1)
        page.locator("tbody th a").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(shown[:10])
        assert page.evaluate("new URLSearchParams(location.search).get('name')") == host
        page.get_by_role("link", name="All hosts").click()
        expect(page.locator("tbody tr")).to_have_count(len(HOSTILE))


def test_a_worker_that_is_killed_is_said_and_its_return_heals_the_page(fleet: Fleet, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    visitor.expected = ["ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "status of 503"]
    page = visitor.open()
    expect(page.locator("tbody tr")).to_have_count(len(HOSTILE))
    fleet.worker.kill()
    expect(page.locator(".banner")).to_contain_text("Connection lost since")
    expect(page.locator(".banner")).to_contain_text("Showing data as of")
    expect(page.locator("main")).to_have_class("old")
    expect(page.get_by_role("status")).to_have_text("Connection lost")
    # The old picture is still there.
    expect(page.locator("tbody tr")).to_have_count(len(HOSTILE))
    fleet.worker.start()
    fleet.worker.wait_ready()
    page.evaluate("dispatchEvent(new Event('focus'))")
    expect(page.locator(".banner")).to_be_hidden()
    expect(page.locator("main")).not_to_have_class("old")
    expect(page.get_by_role("status")).to_have_text("Connected again")
    expect(page.locator(".freshness")).to_have_text(re.compile(r"\d s ago"))
    fleet.send("Temperature", "<b>core</b>", {"😀 хост": 99.0})
    expect(page.locator("tbody tr", has_text="😀").locator(".state")).to_have_text("Critical")


def test_what_a_worker_refuses_is_shown_with_its_reason(fleet: Fleet, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    visitor.expected = ["status of 503", "status of 400"]
    page = visitor.open()
    details = "not every partition is owned by exactly one worker at this moment"
    body = f'{{"type": "about:blank", "title": "x", "status": 503, "detail": "{details}"}}'
    page.route(
        "**/api/v1/overview**",
        # Long enough for the button to be first.
        lambda route: route.fulfill(
            status=503, headers={"Content-Type": "application/problem+json", "Retry-After": "600"}, body=body
        ),
    )
    expect(page.locator(".banner")).to_contain_text("Not available since")
    expect(page.locator(".banner .detail")).to_have_text(details)
    page.unroute("**/api/v1/overview**")
    page.get_by_role("button", name="Try now").click()
    expect(page.locator(".banner")).to_be_hidden()
    page.goto("/?search=%00")
    expect(page.locator(".banner")).to_contain_text("Refused since")
    expect(page.locator(".banner .detail")).to_contain_text("search: expected a text without NUL")
    page.locator("select.language").select_option("ru")
    expect(page.locator(".banner button")).to_have_text("Повторить сейчас")


def test_the_page_says_how_old_the_oldest_answer_is(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open()
    freshness = page.locator(".freshness .text")
    expect(freshness).to_have_text(re.compile(r"^\d s ago$"))

    def older(route: Route) -> None:
        response = route.fetch()
        age = int(response.headers["age"])
        assert 0 <= age <= 30
        route.fulfill(response=response, headers={**response.headers, "age": str(age + 300)})

    page.route("**/cells", older)
    expect(freshness).to_have_text("5 min ago")
    # Also of a response that has not changed.
    with page.expect_response(lambda found: found.url.endswith("/cells") and found.status == 304):
        pass
    expect(freshness).to_have_text("5 min ago")
    page.unroute("**/cells")
    expect(freshness).to_have_text(re.compile(r"^\d+ s ago$"))


def test_what_cannot_be_shown_is_not_fresh(fleet: Fleet, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    visitor.expected = ["^exception: "]
    page = visitor.open()
    page.route("**/api/v1/overview**", lambda route: route.fulfill(json={"hosts": []}))
    expect(page.locator(".banner .detail")).to_contain_text("TypeError")
    expect(page.locator("main")).to_have_class("old")
    page.unroute("**/api/v1/overview**")
    expect(page.locator(".banner")).to_be_hidden()
    page.goto("/?over=toString")
    expect(page.locator("tbody tr")).to_have_count(len(HOSTILE))
    expect(page.locator(".banner")).to_be_hidden()


def test_a_page_of_another_version_says_why_it_is_empty(fleet: Fleet, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    visitor.expected = ["status of 404"]
    page = visitor.page
    page.route("**/assets/**/poll.js", lambda route: route.fulfill(status=404))
    page.goto("/")
    expect(page.locator("body")).to_contain_text("the workers run different versions")
    page.unroute("**/assets/**/poll.js")
    visitor.open()
    expect(page.locator("#boot")).to_have_count(0)


def test_an_announcement_is_made_where_it_is_read(fleet: Fleet, visit: Visit) -> None:
    page = visit(fleet.worker).open()
    found = page.evaluate(
        """async () => {
            const url = (name) => new URL(name, document.querySelector("script[type=module]").src);
            const { announce } = await import(url("dom.js"));
            const region = () => document.querySelector("[role=status][aria-live]");
            const said = () => new Promise((done) => setTimeout(() => done(region().textContent), 300));
            announce("one");
            announce("two");
            const found = [region().textContent, await said()];
            const dialog = document.createElement("dialog");
            document.body.append(dialog);
            dialog.showModal();
            announce("three");
            found.push(await said(), dialog.contains(region()));
            dialog.remove();
            announce("four");
            return [...found, await said()];
        }"""
    )
    assert found == ["", "one. two", "three", True, "four"]


def test_a_request_to_elsewhere_fails_and_is_a_fault_of_the_visit(fleet: Fleet, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    page = visitor.open()
    page.evaluate("fetch('http://example.com/policy').catch(() => 0)")
    # Also without the content security policy of the page.
    visitor.context.new_page().evaluate(
        "fetch('http://example.com/address', { mode: 'no-cors' }).catch(() => 0)"
    )
    page.wait_for_timeout(100)
    faults = "\n".join(visitor.faults)
    assert "violates the policy: connect-src http://example.com/policy" in faults
    assert "request failed: http://example.com/address: net::ERR_NAME_NOT_RESOLVED" in faults
    visitor.expected += ["example.com", "Failed to load resource"]
