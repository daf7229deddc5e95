"""The page of a host in a browser: what is shown is what the API says."""

import csv
import io
import json
import math
import re
import shlex
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from playwright.sync_api import Route, expect

from tests.integration.conftest import Visit
from tests.support.broker import Broker
from tests.support.browser import UPDATES
from tests.support.eventually import eventually
from tests.support.fleet import Fleet
from tests.support.host_history import HOST, host_with_history
from tests.support.host_page import changed, chart, drawn, host_path, wait_for_host

pytestmark = pytest.mark.any_broker
HOSTILE = "<img src=x onerror=alert(1)>\u202eevil%2F..#" + "x" * 960
METRIC = '"><b>\u202e%2F[0]'


@pytest.fixture(scope="module")
def history(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with host_with_history(broker, tmp_path_factory.mktemp("history")) as running:
        yield running


def test_every_plugin_of_a_host_has_its_charts_words_or_values(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open(host_path())
    expect(page).to_have_title("web-1 · Sparkle-M")
    expect(page.locator("h2:visible")).to_have_text(
        ["Load, %", "Temperature, °C", "Disks", "Services"], use_inner_text=True
    )
    expect(page.locator("figure h3")).to_have_text(["Processor", "Cores", "coretemp", "nvme"])
    for title in ("Processor", "coretemp"):
        expect(chart(page, title).locator("canvas")).to_be_visible()
        assert drawn(chart(page, title), "--line-1") > 200
    # What a threshold means stands there in words.
    expect(page.locator(".limits").first).to_have_text("Warning > 80\u00a0%Critical > 95\u00a0%")
    expect(page.locator(".timeline-row")).to_have_count(2)
    expect(page.locator(".timeline-row", has_text="nginx").locator("li").last).to_contain_text("active")
    expect(page.locator(".timeline-row", has_text="sshd")).to_contain_text("failed")
    expect(page.locator(".words .json")).to_have_text('{"smart":"ok","hours":100}')


def test_a_value_that_a_host_sends_appears_by_itself(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open(host_path(range="15m"))
    legend = chart(page, "coretemp").locator(".chart-legend li", has_text="Core 1")
    expect(legend).to_be_visible()
    history.send("Temperature", "coretemp/Core 1", {HOST: 96.5})
    expect(legend.locator(".number")).to_have_text("96.5\u00a0°C")
    expect(chart(page, "coretemp").locator("figcaption")).to_contain_text(
        "highest 96.5\u00a0°C (coretemp/Core 1"
    )
    expect(page.locator(".host-head .state")).to_have_text("Critical")


def test_the_table_of_a_chart_has_the_numbers_of_the_api(history: Fleet, visit: Visit) -> None:
    to = datetime.now(UTC).replace(second=0, microsecond=0)
    ends = {"from": f"{datetime.fromtimestamp(to.timestamp() - 4 * 3600, UTC):%FT%TZ}", "to": f"{to:%FT%TZ}"}
    page = visit(history.worker).open(host_path(**ends))
    figure = chart(page, "Processor")
    figure.get_by_role("button", name="Show as table").click()
    expect(figure.locator("tbody tr").first).to_be_visible()
    found = [
        (row.locator("time").get_attribute("datetime"), *row.locator("td").all_inner_texts()[1:])
        for row in figure.locator("tbody tr").all()
    ]
    columns: dict[str, Any] = requests.get(
        f"{history.worker.url}/api/v1/plugins/PU_Workload/hosts/{HOST}/columns",
        {**ends, "points": "400", "metric": "CPU/total"},
        timeout=10,
    ).json()["series"]["CPU/total"]
    names = ("at", "average", "minimum", "maximum", "count")
    expected = [
        (
            f"{datetime.fromtimestamp(at, UTC):%FT%TZ}",
            "CPU/total",
            *(f"{math.floor(each + 0.5)}\u00a0%" for each in values),
            str(count),
        )
        for at, *values, count in zip(*(columns[name] for name in names), strict=True)
    ]
    assert found == expected[::-1]
    assert len(found) > 40


def test_what_a_chart_shows_can_be_saved(history: Fleet, visit: Visit) -> None:
    ends = {
        "from": f"{datetime.fromtimestamp(time.time() - 3000, UTC):%FT%TZ}",
        "to": f"{datetime.now(UTC):%FT%TZ}",
    }
    visitor = visit(history.worker)
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visitor.open(host_path(**ends))
    figure = chart(page, "coretemp")
    expect(figure.locator("figcaption")).to_contain_text("every reading")

    def saved(name: str) -> str:
        with page.expect_download() as download:
            figure.get_by_role("button", name=name).click()
        assert download.value.suggested_filename == f"Temperature-{HOST}.{name.lower()}"
        return download.value.path().read_text()

    found = json.loads(saved("JSON"))
    assert {each["metric"] for each in found["readings"]} == {"coretemp/Core 0", "coretemp/Core 1"}
    rows = list(csv.DictReader(io.StringIO(saved("CSV"))))
    assert [row["metric"] for row in rows] == [each["metric"] for each in found["readings"]]
    figure.get_by_role("button", name="Show as table").click()
    expect(figure.locator("tbody tr")).to_have_count(len(rows))
    figure.get_by_role("button", name="Copy curl").click()
    expect(figure.locator(".said")).to_have_text("Copied")
    command = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    assert command[0] == "curl"
    assert requests.get(command[-1], timeout=10).json() == found


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


def test_without_the_library_charts_are_tables(history: Fleet, visit: Visit) -> None:
    visitor = visit(history.worker)
    visitor.page.route(
        "**/uplot.js",
        lambda route: route.fulfill(body="export default null;", content_type="text/javascript"),
    )
    page = visitor.open(host_path())
    expect(page.get_by_text("Charts are shown as tables")).to_be_visible()
    expect(chart(page, "Processor").locator("tbody tr").first).to_be_visible()
    expect(page.locator("canvas, .plot:visible")).to_have_count(0)
    expect(page.get_by_role("button", name="Show as")).to_have_count(0)


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
        re.compile(r"^\d+ gaps?, the longest 1\d min, since (.*, )?\d\d:\d\d$")
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
    expect(strip.locator(".before")).to_have_attribute("title", "Not kept any longer")


def test_what_is_shown_is_recounted_on_request(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open(host_path(range="6h"))
    section = page.locator("section.of-plugin", has_text="Load, %")
    section.get_by_role("button", name="Prove it").click()
    expect(section.locator(".recount")).to_have_text(
        re.compile(
            r": [\d,]+ stored readings recounted in [\d.]+ s\. All [\d,]+ aggregates are exactly what they give\."
        )
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
    section.get_by_role("button", name="Prove it").click()
    expect(section.locator(".recount[data-state=equal]")).to_have_text(
        re.compile(
            r" All 19 aggregates are exactly what they give\."
            r" 1 more has received readings meanwhile, which are being counted\.$"
        )
    )
    expect(found.locator("table")).to_have_count(0)
    # It is never counted; or more are counted than stored, which waiting does not change.
    for never in ((3, 4), (5, 4)):
        counts[:] = [never]
        section.get_by_role("button", name="Prove it").click()
        expect(section.locator(".recount[data-state=differing]")).to_contain_text("1 of 20 aggregates")
        expect(found.locator("tbody tr")).to_have_count(1)


def test_what_may_be_missing_for_good_is_not_proved(history: Fleet, visit: Visit) -> None:
    visitor = visit(history.worker)
    visitor.expected = ["400"]
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
            route.fulfill(status=400, json={"title": "Bad Request", "status": 400, "detail": detail})
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
    section.get_by_role("button", name="Prove it").click()
    expect(found).to_contain_text(
        "1 aggregate is still being counted: it is not known yet whether it is complete."
    )
    assert len(asked) == 4
    # A repetition that leaves out the beginning of the range does not prove it.
    asked.clear()
    grows = False
    section.get_by_role("button", name="Prove it").click()
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


def test_what_is_not_kept_any_longer_proves_nothing(history: Fleet, visit: Visit) -> None:
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
        re.compile(r"^What is older than \d\d:\d\d:\d\d is not kept any longer\.$")
    )
    # Aggregates are kept longer than readings.
    expect(section.locator("figcaption").first).to_contain_text("averages of 1 min. Lowest")
    section.get_by_role("button", name="Prove it").click()
    expect(section.locator(".recount[data-state=unknown]")).to_have_text(
        re.compile(
            r" 7 aggregates cannot be verified: what they were computed from is not kept any longer\."
            r" Readings are kept since \d\d:\d\d:\d\d\.$"
        )
    )
    changed(page, "PU_Workload", "recount", {"aggregates": 0, "not_verifiable": 0})
    section.get_by_role("button", name="Prove it").click()
    expect(section.locator(".recount[data-state=unknown]")).to_have_text(
        re.compile(r"There are no aggregates that they could be compared with\.$")
    )


def test_a_legend_ends_with_a_whole_row(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open(host_path())
    shown, row = page.evaluate(
        """async () => {
            const url = (name) => new URL(name, document.querySelector("script[type=module]").src);
            const { chartLegend } = await import(url("components/chart_legend.js"));
            const { element, update } = chartLegend({});
            document.querySelector("figure.chart").append(element);
            const line = (_, each) => ({ metric: `CPU/${each}`, colour: "--line-1", dash: [] });
            const lines = Array.from({ length: 60 }, line);
            update({ lines, values: new Map(), plugin: { unit: "", panel: {} } });
            const list = element.querySelector(".lines");
            return [list.clientHeight, list.firstElementChild.getBoundingClientRect().height];
        }"""
    )
    assert shown % row == 0
    assert shown >= 4 * row


def test_a_range_to_the_present_is_refreshed_as_one_that_moves(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open(host_path())
    seconds = page.evaluate(
        """async () => {
            const url = (name) => new URL(name, document.querySelector("script[type=module]").src);
            const { refreshSeconds } = await import(url("ranges.js"));
            const ending = (to) => refreshSeconds({ from: to - 600, to, live: false }, 1_000_000_000);
            return [ending(1_000_000), ending(1_000_300), ending(999_000)];
        }"""
    )
    assert seconds == [5, 5, 300]


def test_both_nights_of_the_clock_change_have_the_right_hours(history: Fleet, visit: Visit) -> None:
    """In Europe/Berlin, 02:00 to 03:00 does not exist on 29 March, and exists twice on 25 October."""
    for moment in ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"):
        at = datetime.fromisoformat(moment).timestamp()
        history.send("Temperature", "nvme/Composite", {"night": 40.0}, at)
    wait_for_host(history, "night")
    page = visit(history.worker).open(
        host_path("night", **{"from": "2026-10-25T00:00:00Z", "to": "2026-10-25T03:00:00Z"})
    )
    figure = chart(page, "nvme")
    figure.get_by_role("button", name="Show as table").click()
    expect(figure.locator("tbody time")).to_have_text([re.compile("02:30:00$")] * 2)
    times = [each.get_attribute("title") for each in figure.locator("tbody time").all()]
    assert times == ["2026-10-25 01:30:00 UTC", "2026-10-25 00:30:00 UTC"]
    labels = page.evaluate(
        """async (nights) => {
            const base = document.querySelector("script[src]").src.replace(/[^/]*$/, "");
            const { timeLabels, timeMarks } = await import(`${base}time_axis.js`);
            return nights.map(([from, to, most]) =>
                timeLabels(timeMarks(Date.parse(from) / 1000, Date.parse(to) / 1000, most))
                    .map((each) => each.split("\\n")[0]));
        }""",
        [
            ["2026-10-24T23:00:00Z", "2026-10-25T03:00:00Z", 5],
            ["2026-03-29T00:00:00Z", "2026-03-29T03:00:00Z", 5],
            ["2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z", 5],
            ["2026-03-20T00:00:00Z", "2026-04-02T00:00:00Z", 14],
        ],
    )
    assert labels[0] == ["01:00", "02:00 CEST", "02:00 CET", "03:00", "04:00"]
    assert labels[1] == ["01:00", "03:00", "04:00", "05:00"]
    assert labels[2] == ["18:00", "00:00", "06:00", "12:00"]
    assert (labels[3][0], labels[3][-1], len(labels[3])) == ("21 Mar", "2 Apr", 13)


def test_hostile_names_are_only_text(history: Fleet, visit: Visit) -> None:
    history.send("Temperature", METRIC, {HOSTILE: 41.0}, time.time() - 30)
    history.send("Temperature", METRIC, {HOSTILE: 42.0})
    wait_for_host(history, HOSTILE)
    page = visit(history.worker).open(host_path(HOSTILE))
    expect(page.locator("h1")).to_have_text(re.compile(r"^<img src=x onerror=alert\(1\)>⟨U\+202E⟩evil….*x$"))
    expect(page.locator("figure .chart-legend li")).to_have_text(re.compile(r'^"><b>⟨U\+202E⟩%2F\[0\]42\.0'))
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.locator(".latest summary").click()
    page.locator(".latest button").click()
    expect(page.get_by_role("dialog").locator("li").first).to_contain_text("42.0")
    assert page.locator("img, b").count() == 0


def test_a_host_that_nobody_knows_and_a_range_without_readings_say_so(history: Fleet, visit: Visit) -> None:
    visitor = visit(history.worker)
    visitor.expected = ["404"]
    page = visitor.open(host_path("nobody"))
    expect(page.locator(".host-head .note")).to_contain_text("No host of this name sends readings now")
    page.goto(host_path(**{"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}))
    expect(page.locator(".nothing:visible").first).to_contain_text("No readings in this time range")
    page.goto(host_path(**{"from": "yesterday", "to": "now"}))
    expect(page.locator(".range-bar .note")).to_contain_text("not valid")
