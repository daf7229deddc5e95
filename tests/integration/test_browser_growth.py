"""The page of a host in a browser does not grow, however long it is open."""

import re

import pytest
from playwright.sync_api import expect

from tests.integration.conftest import Visit
from tests.support.browser import UPDATES, assert_does_not_grow, used_memory
from tests.support.fleet import Fleet
from tests.support.host_page import chart, host_path

pytestmark = pytest.mark.any_broker


def test_a_page_that_is_left_open_does_not_grow(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open(host_path(range="15m"))
    expect(chart(page, "nvme").locator("canvas")).to_be_visible()
    # Each update loads the charts as well, not only the state of the host.
    for _ in range(2):
        with page.expect_request(re.compile("/Temperature/hosts/web-1/columns")):
            page.evaluate(UPDATES, 1)
    assert_does_not_grow(page)


def test_nothing_is_left_of_charts_that_are_not_shown(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open(host_path(range="15m"))

    def leave_and_return(times: int) -> None:
        for _ in range(times):
            page.locator("header nav").get_by_role("link", name="Hosts").click()
            expect(page.locator("table.hosts")).to_be_visible()
            page.go_back()
            expect(chart(page, "nvme").locator("canvas")).to_be_visible()

    # The browser keeps the view that was left last, but none of those before it.
    leave_and_return(2)
    _, nodes, listeners = used_memory(page)
    leave_and_return(6)
    _, nodes_after, listeners_after = used_memory(page)
    assert nodes_after < 1.1 * nodes
    assert listeners_after < 1.1 * listeners
