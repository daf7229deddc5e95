"""The page of a host in a browser: what is missing, late or not verified is said."""

import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.integration.conftest import Visit
from tests.support.browser import UPDATES
from tests.support.eventually import eventually
from tests.support.fleet import Fleet
from tests.support.host_history import HOST
from tests.support.host_page import changed, chart, host_path, wait_for_host

pytestmark = pytest.mark.any_broker


def test_steps_that_were_filled_late_are_marked(history: Fleet, visit: Visit) -> None:
    # Of another host: other tests count the gaps of that one.
    host = "late-1"
    at = (time.time() - 90 * 60) // 60 * 60 + 45
    in_time = ("nvme/Composite", "coretemp/Core 0")
    history.send_all(
        (at + 60 * minute, "Temperature", metric, {host: 50.0})
        for minute in range(1, 80)
        for metric in in_time
    )
    history.send_all([(at, "Temperature", "nvme/Composite", {host: 51.0})], delay=300)
    wait_for_host(history, host)
    start = f"{datetime.fromtimestamp(at - 3600, UTC):%FT%TZ}"
    end = f"{datetime.fromtimestamp(at + 4 * 3600, UTC):%FT%TZ}"
    path = f"/api/v1/plugins/Temperature/hosts/{host}/columns?from={start}&points=400&late=true"
    eventually(lambda: history.worker.get(path)[1]["late"], bool, seconds=60)
    page = visit(history.worker).open(host_path(host, **{"from": start, "to": end}))
    figure = chart(page, "nvme")
    caption = figure.locator("figcaption")
    expect(caption).to_contain_text("1 step was filled late, by readings that arrived after up to 5 min.")
    expect(chart(page, "coretemp").locator("figcaption")).not_to_contain_text("late")
    plot = figure.locator(".plot")
    plot.focus()
    page.keyboard.press("Home")
    expect(figure.locator(".point")).to_contain_text("51.0\u00a0°C")
    expect(figure.locator(".point")).to_contain_text("1 reading arrived late, after 5 min")
    page.keyboard.press("ArrowRight")
    expect(figure.locator(".point")).not_to_contain_text("late")
    figure.get_by_role("button", name="Show as table").click()
    expect(figure.locator("thead th").last).to_have_text("Filled after")
    expect(figure.locator("tbody tr").last.locator("td").last).to_have_text("5 min")
    expect(figure.locator("tbody tr").first.locator("td").last).to_have_text("")


def test_gaps_are_shown_and_counted_by_the_interval_of_the_host(history: Fleet, visit: Visit) -> None:
    def known() -> bool:
        # It is known after the second minute with readings.
        history.send("Temperature", "nvme/Composite", {HOST: 60.0})
        history.send("Services", "sshd", {HOST: "active"})
        found: dict[str, Any] = history.worker.get(f"/api/v1/hosts/{HOST}")[1]["plugins"]
        time.sleep(2)
        return all(found[each]["interval_seconds"] for each in ("Temperature", "Services"))

    eventually(known, bool, seconds=240)
    page = visit(history.worker).open(host_path())
    expect(page.locator(".strip-row", has_text="Temperature")).to_contain_text("gap")
    expect(page.locator(".strip-row", has_text="Temperature")).to_contain_text("the longest 1")
    expect(page.locator(".strip-row", has_text="Temperature").locator(".gap").first).to_be_visible()
    # A percentage below the name of a plugin could be one of its values.
    expect(page.locator(".strips-title")).to_have_text("Completeness")
    expect(page.locator(".strips-title")).to_be_visible()
    day = visit(history.worker).open(host_path(range="24h"))
    # Before its first reading, it is not known what was missed.
    expect(day.locator(".strip-row", has_text="Temperature").locator(".gaps")).to_have_text(
        re.compile(r"^\d+ gaps?, the longest 1\d min; counted since (.*, )?\d\d:\d\d$")
    )
    # Nobody counts when words were sent.
    path = f"/api/v1/plugins/Services/hosts/{HOST}/completeness"
    assert history.worker.get(path)[1]["completeness"] is None
    expect(page.locator(".strip-row", has_text="Services")).to_have_count(0)
    # On a phone, charts come first.
    phone = visit(history.worker, viewport={"width": 390, "height": 800}).page
    since = f"{datetime.fromtimestamp(time.time() - 1800, UTC):%FT%TZ}"
    changed(phone, "Temperature", "completeness", {"from": since, "kept_since": since})
    phone.goto(host_path())
    expect(phone.locator(".completeness summary")).to_have_text(
        re.compile(r"Completeness: [\d.]+\u00a0% at worst, \w+")
    )
    strip = phone.locator(".strip-row", has_text="Temperature")
    expect(strip).to_be_hidden()
    phone.locator(".completeness summary").click()
    expect(strip).to_be_visible()
    expect(strip.locator(".before")).to_have_attribute("title", "Expired")
    # Where there is no strip since the API refuses the range, the page says why, and does not ask again.
    visitor = visit(history.worker)
    visitor.expected = ["status of 400"]
    reason = visitor.page.locator(".completeness .note")
    visitor.open(host_path(range="1y"))
    expect(reason).to_have_text("Not shown: the time range is too long to count its buckets.")
    expect(visitor.page.locator(".strip-row .strip")).to_have_count(0)
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url))
    visitor.page.evaluate(UPDATES, 1)
    assert asked
    assert not [each for each in asked if "/completeness?" in each]
    visitor.page.goto(host_path(range="6h"))
    expect(visitor.page.locator(".strip-row").first).to_be_visible()
    expect(reason).to_be_hidden()


def test_without_a_usual_interval_the_page_says_why_there_is_no_completeness(
    history: Fleet, visit: Visit
) -> None:
    history.send("Temperature", "nvme/Composite", {"once": 40.0}, time.time() - 3000)
    wait_for_host(history, "once")
    page = visit(history.worker).open(host_path("once"))
    expect(page.locator(".host-head .state")).to_have_text("Silent")
    expect(page.locator(".strip-row", has_text="Temperature")).to_contain_text(
        "Not known: the usual interval of the host is not known yet. Until it is, the host is silent after 15 minutes."
    )
    expect(page.locator(".strip")).to_have_count(0)
    phone = visit(history.worker, viewport={"width": 390, "height": 800}).open(host_path("once"))
    expect(phone.locator(".completeness summary")).to_have_text("Completeness: not known yet")


def test_what_is_shown_is_recounted_on_request(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open(host_path(range="6h"))
    section = page.locator("section.of-plugin", has_text="Load, %")
    section.get_by_role("button", name="Verify").click()
    expect(section.locator(".recount")).to_have_text(
        re.compile(r": [\d,]+ stored readings recounted in [\d.]+ s\. All [\d,]+ aggregates match exactly\.")
    )


def test_readings_that_are_being_counted_are_not_differences(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).page
    at = f"{datetime.now(UTC).replace(second=0, microsecond=0):%FT%TZ}"
    counts = [(3, 4)]

    def difference(stored: int, recounted: int) -> dict[str, Any]:
        values = {"average": 50.0, "minimum": 50.0, "maximum": 50.0, "last": 50.0, "last_at": at}
        return {
            "metric": "CPU/total",
            "resolution": 60,
            "at": at,
            "stored": {**values, "count": stored},
            "recounted": {**values, "count": recounted},
            "lagging": stored < recounted,
        }

    def answer(route: Route) -> None:
        response = route.fetch()
        differences = [difference(*counts[0])]
        del counts[: len(counts) > 1]
        changes = {"equal": False, "differing": 1, "differences": differences}
        route.fulfill(response=response, json=response.json() | {"aggregates": 20, **changes})

    page.route(re.compile("/api/v1/.*/recount"), answer)
    page.goto(host_path())
    section = page.locator("section.of-plugin", has_text="Load, %")
    found = section.locator(".recount")
    # The fourth reading is counted, while a fifth one arrives.
    counts[:] = [(3, 4), (3, 4), (4, 5)]
    section.get_by_role("button", name="Verify").click()
    expect(section.locator(".recount[data-state=equal]")).to_have_text(
        re.compile(
            r" All 19 aggregates match exactly\."
            r" 1 more has received readings meanwhile, which are being counted\.$"
        )
    )
    expect(found.locator("table")).to_have_count(0)
    # It is never counted; or more are counted than stored, which waiting does not change.
    for never in ((3, 4), (5, 4)):
        counts[:] = [never]
        section.get_by_role("button", name="Verify").click()
        expect(section.locator(".recount[data-state=differing]")).to_contain_text("1 of 20 aggregates")
        expect(found.locator("tbody tr")).to_have_count(1)


def test_what_may_be_missing_for_good_is_not_verified(history: Fleet, visit: Visit) -> None:
    visitor = visit(history.worker)
    visitor.expected = ["status of 400"]
    page = visitor.page
    asked: list[str] = []
    grows = True

    def statistics(count: int, last: str) -> dict[str, Any]:
        values = {"average": 50.0, "minimum": 50.0, "maximum": 50.0, "last": 50.0}
        return {**values, "count": count, "last_at": last}

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) % 2 == 0 and not grows:
            detail = (
                "from: expected at most 200000 readings in the time range, found 200001; use a shorter one"
            )
            route.fulfill(status=400, json={"status": 400, "detail": detail, "limit": "readings"})
            return
        response = route.fetch()
        found = response.json()
        second = len(asked)
        difference = {
            "metric": "CPU/total",
            "resolution": 60,
            "at": found["from"],
            # The first reading is never counted, and each recount finds another one, which is counted.
            "stored": statistics(second + 2, found["from"].replace("00Z", f"{second:02}Z")),
            "recounted": statistics(second + 3, found["from"].replace("00Z", f"{second:02}.5Z")),
            "lagging": True,
        }
        differing = grows or len(asked) == 1
        changes = {"equal": False, "differing": 1, "differences": [difference]} if differing else {}
        route.fulfill(response=response, json={**found, **changes})

    page.route(re.compile("/api/v1/.*/recount"), answer)
    page.goto(host_path())
    section = page.locator("section.of-plugin", has_text="Load, %")
    found = section.locator(".recount[data-state=unknown]")
    section.get_by_role("button", name="Verify").click()
    expect(found).to_contain_text(
        "1 aggregate is still being counted: it is not known yet whether it is complete."
    )
    assert len(asked) == 4
    # A repetition that leaves out the beginning of the range does not verify it.
    asked.clear()
    grows = False
    section.get_by_role("button", name="Verify").click()
    expect(found).to_contain_text("Earlier readings were left out")
    expect(found).to_contain_text("1 aggregate is still being counted")


def test_late_readings_are_not_looked_for_where_no_line_is_drawn(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open(host_path())
    expect(page.locator(".timeline-row")).to_have_count(2)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(UPDATES, 1)
    late = {each for each in asked if "late=true" in each}
    assert {re.findall("plugins/([^/]+)/", each)[0] for each in late} == {"PU_Workload", "Temperature"}


def test_what_has_expired_verifies_nothing(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).page
    start = f"{datetime.fromtimestamp(time.time() - 3600, UTC):%FT%TZ}"
    now = f"{datetime.now(UTC):%FT%TZ}"
    kept: dict[str, Any] = {"resolution_seconds": 60, "from": now, "to": now}
    changed(page, "PU_Workload", "columns", {"from": start, "sources": [kept]})
    changed(page, "PU_Workload", "readings", {"kept_since": now, "readings": []})
    changed(page, "PU_Workload", "recount", {"not_verifiable": 7, "kept_since": now})
    page.goto(host_path())
    section = page.locator("section.of-plugin", has_text="Load, %")
    expect(section.locator(".note:visible")).to_have_text(
        re.compile(r"^Data before \d\d:\d\d:\d\d has expired\.$")
    )
    # Aggregates are kept longer than readings.
    expect(section.locator("figcaption").first).to_contain_text("averages of 1 min. Lowest reading")
    section.get_by_role("button", name="Verify").click()
    expect(section.locator(".recount[data-state=unknown]")).to_have_text(
        re.compile(
            r" 7 aggregates cannot be verified: the rows that they were computed from have expired\."
            r" Readings are kept since \d\d:\d\d:\d\d\.$"
        )
    )
    changed(page, "PU_Workload", "recount", {"aggregates": 0, "not_verifiable": 0})
    section.get_by_role("button", name="Verify").click()
    expect(section.locator(".recount[data-state=unknown]")).to_have_text(
        re.compile(r"There are no aggregates to compare with\.$")
    )


def test_the_readings_of_a_point_say_if_some_have_expired(history: Fleet, visit: Visit) -> None:
    visitor = visit(history.worker)
    changed(visitor.page, "Temperature", "readings", {"kept_since": "2026-01-02T03:04:05Z"})
    figure = chart(visitor.open(host_path(range="6h")), "nvme")
    figure.locator(".plot").press("Home")
    figure.locator(".plot").press("Enter")
    expect(visitor.page.get_by_role("dialog").get_by_role("status").first).to_have_text(
        re.compile(r"^\d stored readings?\. Data before 2 Jan 2026, 04:04:05 has expired\.$")
    )
