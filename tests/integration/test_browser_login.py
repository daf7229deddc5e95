"""A person logs in with a token, sees the page, and logs out."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.integration.conftest import Visit
from tests.support.broker import Broker
from tests.support.browser import LOOKS, axe_script, violations
from tests.support.fleet import Fleet

pytestmark = pytest.mark.any_broker

TOKEN = "a-token-for-reading"


@pytest.fixture
def fleet(broker: Broker, tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(broker, tmp_path, web__token=TOKEN) as fleet:
        yield fleet


def test_a_person_logs_in_and_out(fleet: Fleet, visit: Visit) -> None:
    visitor = visit(fleet.worker)
    # The response to the wrong token.
    visitor.expected = ["status of 401"]
    page = visitor.page
    page.goto("/pipeline")
    expect(page).to_have_url(f"{fleet.worker.url}/login?next=/pipeline")
    page.get_by_label("Token").fill("another")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{fleet.worker.url}/pipeline")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Pipeline")
    page.get_by_role("button", name="Log out").wait_for()
    page.route("**/api/v1/session", lambda route: route.abort())
    visitor.expected += ["session", "ERR_FAILED"]
    page.reload()
    expect(page.locator(".freshness[data-state=fresh]")).to_be_visible()
    expect(page.get_by_role("button", name="Log out")).to_have_count(0)
    page.unroute("**/api/v1/session")
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    command = page.evaluate(
        """async () => {
            const url = (name) => new URL(name, document.querySelector("script[type=module]").src);
            const { exportBar } = await import(url("components/export_bar.js"));
            const data = { range: { from: 0, to: 60 }, path: "/api/v1/plugins/P/hosts/h", step: 60, exact: false };
            const bar = exportBar(() => ({ data, metrics: [], all: true }));
            document.body.append(bar);
            bar.lastChild.click();
            await new Promise((done) => setTimeout(done, 1000));
            return navigator.clipboard.readText();
        }"""
    )
    assert shlex.split(command)[3:5] == ["-H", "Authorization: Bearer $SPARKLE_WEB__TOKEN"]
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{fleet.worker.url}/login")
    page.goto("/")
    expect(page).to_have_url(f"{fleet.worker.url}/login")


def test_axe_finds_nothing_on_the_pages_that_are_not_of_the_dashboard(fleet: Fleet, visit: Visit) -> None:
    for scheme, locale, width in LOOKS:
        visitor = visit(
            fleet.worker, color_scheme=scheme, locale=locale, viewport={"width": width, "height": 800}
        )
        visitor.context.add_init_script(axe_script())
        page = visitor.page
        page.goto("/login")
        expect(page.locator("input:visible")).to_have_count(1)
        assert violations(page) == []
        page.locator("#token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator(".freshness[data-state=fresh]")).to_be_visible()
        if (scheme, locale, width) not in LOOKS[::2]:
            # A long page.
            continue
        page.goto("/docs")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
