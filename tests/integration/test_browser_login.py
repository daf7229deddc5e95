"""A person logs in with a token, sees the page, and logs out."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.integration.conftest import Visit
from tests.support.broker import Broker
from tests.support.fleet import Fleet

pytestmark = pytest.mark.any_broker

TOKEN = "a-token-for-reading"


@pytest.fixture
def fleet(broker: Broker, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(broker, tmp_path, web__token=TOKEN)
    try:
        fleet.worker.start()
        fleet.worker.wait_ready()
        yield fleet
    finally:
        fleet.worker.kill()


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
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{fleet.worker.url}/login")
    page.goto("/")
    expect(page).to_have_url(f"{fleet.worker.url}/login")
