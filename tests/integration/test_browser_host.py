"""The page of a host in a browser: what is shown is what the API says."""

import csv
import io
import json
import math
import re
import shlex
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from playwright.sync_api import Route, expect
from sqlalchemy.engine import make_url

from sparkle_app.config.sections import AggregatesSettings
from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.model.time import from_seconds
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.storage.engine import make_engine
from tests.integration.conftest import Visit
from tests.support.eventually import eventually
from tests.support.fleet import Fleet
from tests.support.host_history import HOST
from tests.support.host_page import changed, chart, drawn, host_path, wait_for_host
from tests.support.worker import PROJECT

pytestmark = pytest.mark.any_broker
HOSTILE = "<img src=x onerror=alert(1)>\u202eevil%2F..#" + "x" * 960
METRIC = '"><b>\u202e%2F[0]'


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


def test_a_file_that_cannot_be_saved_has_the_reason_of_the_worker_or_needs_a_login(
    history: Fleet, visit: Visit
) -> None:
    visitor = visit(history.worker)
    visitor.expected = ["status of 503", "status of 401"]
    statuses = [503, 401]

    def refuse(route: Route) -> None:
        if route.request.headers["accept"] != "text/csv":
            route.fallback()
            return
        status = statuses.pop(0)
        route.fulfill(status=status, json={"status": status, "detail": "the database is locked"})

    visitor.page.route("**/api/v1/plugins/**", refuse)
    page = visitor.open(host_path())
    button = chart(page, "coretemp").get_by_role("button", name="CSV")
    button.click()
    expect(page.locator(".said")).to_have_text("Failed: the database is locked")
    with page.expect_request(re.compile(r"/login\?next=%2Fhost")):
        button.click()


def test_readings_of_several_pages_are_saved_as_one_file(history: Fleet, visit: Visit) -> None:
    host, sent = "many-1", 1200
    now = time.time()
    history.send_all((now - each, "Temperature", "nvme/Composite", {host: each / 20}) for each in range(sent))
    path = f"/api/v1/plugins/Temperature/hosts/{host}/readings?limit=1000"

    def stored() -> int:
        first = history.worker.get(path)[1]
        if first["next"] is None:
            return len(first["readings"])
        return 1000 + len(history.worker.get(f"{path}&after={first['next']}")[1]["readings"])

    eventually(stored, lambda found: found == sent, seconds=120)
    # A worker records new hosts in their table after it has stored their readings.
    eventually(lambda: history.worker.get(f"/api/v1/hosts/{host}")[0], lambda status: status == 200)
    visitor = visit(history.worker)
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    # They are not counted yet, so there are no steps.
    changed(visitor.page, "Temperature", "columns", {"series": {}})
    figure = chart(visitor.open(host_path(host, range="1h")), "nvme")
    expect(figure.locator("figcaption")).to_contain_text("every reading")

    def saved(name: str) -> str:
        with visitor.page.expect_download() as download:
            figure.get_by_role("button", name=name).click()
        return download.value.path().read_text()

    values = [each / 20 for each in reversed(range(sent))]
    assert [each["value"] for each in json.loads(saved("JSON"))["readings"]] == values
    assert [float(each["value"]) for each in csv.DictReader(io.StringIO(saved("CSV")))] == values
    # A command requests one page.
    figure.get_by_role("button", name="Copy curl").click()
    expect(figure.locator(".said")).to_have_text("Copied")
    assert "/columns?" in visitor.page.evaluate("navigator.clipboard.readText()")


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
    expect(figure.locator("tbody time")).to_have_text(
        [re.compile(f"02:30:00.{zone}$") for zone in ("CET", "CEST")]
    )
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
            ["2026-03-28T23:00:00Z", "2026-03-31T00:00:00Z", 4],
            ["2026-10-24T22:30:00Z", "2026-11-20T00:00:00Z", 3],
        ],
    )
    assert labels[0] == ["01:00", "02:00 CEST", "02:00 CET", "03:00", "04:00"]
    assert labels[1] == ["01:00", "03:00", "04:00", "05:00"]
    assert labels[2] == ["18:00", "00:00", "06:00", "12:00"]
    assert (labels[3][0], labels[3][-1], len(labels[3])) == ("21 Mar", "2 Apr", 13)
    # The first midnight begins a day of 23 hours, or ends one of 25.
    assert labels[4] == ["29 Mar", "30 Mar", "31 Mar"]
    assert labels[5] == ["26 Oct", "5 Nov", "15 Nov"]


def test_hostile_names_are_only_text(history: Fleet, visit: Visit) -> None:
    history.send("Temperature", METRIC, {HOSTILE: 41.0}, time.time() - 30)
    history.send("Temperature", METRIC, {HOSTILE: 42.0})
    wait_for_host(history, HOSTILE)
    page = visit(history.worker).open(host_path(HOSTILE))
    expect(page.locator("h1")).to_have_text(re.compile(r"^<img src=x onerror=alert\(1\)>⟨U\+202E⟩evil….*x$"))
    expect(page.locator("figure .chart-legend li")).to_have_text(re.compile(r'^"><b>⟨U\+202E⟩%2F\[0\]42\.0'))
    expect(page).to_have_title(
        re.compile(r"^<img src=x onerror=alert\(1\)>⟨U\+202E⟩evil.{0,40}….{0,40}x · Sparkle-M$")
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.locator(".latest summary").click()
    page.locator(".latest button").click()
    expect(page.get_by_role("dialog").locator("li").first).to_contain_text("42.0")
    assert page.locator("img, b").count() == 0


def test_as_many_metrics_as_a_host_may_have_are_shown(history: Fleet, visit: Visit) -> None:
    """The API returns 50,000 points: of each metric, as many as an hour of minutes has are too many."""
    start = from_seconds(int(time.time()) // 60 * 60 - 3600)
    statistics = Statistics(1, 40.0, 40.0, 40.0, 40.0, start)
    number = AggregatesSettings().max_metrics_per_host
    plugin = load_plugins(PROJECT / "plugins").installed["Temperature"].plugin
    engine = make_engine(make_url(history.database))
    for minute in range(60):
        at = start + minute * 60_000_000
        rows = [AggregateRow("large", f"board/{each}", 60, at, statistics) for each in range(number)]
        with engine.begin() as connection:
            plugin.store_aggregates(connection, rows)
    engine.dispose()
    visitor = visit(history.worker)
    # It has sent nothing now, and the points are asked for more than once.
    visitor.expected = ["status of 404", "status of 400"]
    page = visitor.open(host_path("large"))
    expect(chart(page, "board").locator(".chart-legend li")).to_have_count(number, timeout=60_000)
    page.goto(host_path("large", lines="apart"))
    expect(chart(page, "board").locator("canvas")).to_have_count(48, timeout=60_000)
    expect(chart(page, "board").get_by_text(f"{number - 48:,} more lines have no chart")).to_be_visible()
    expect(page.get_by_text("Cannot be shown")).to_have_count(0)


def test_a_host_that_nobody_knows_and_a_range_without_readings_say_so(history: Fleet, visit: Visit) -> None:
    visitor = visit(history.worker)
    visitor.expected = ["status of 404"]
    page = visitor.open(host_path("nobody"))
    expect(page.locator(".host-head .note")).to_contain_text("No host of this name sends readings now")
    page.goto(host_path(**{"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}))
    expect(page.locator(".nothing:visible").first).to_contain_text("No readings in this time range")
    for invalid in ({"from": "yesterday", "to": "now"}, {"range": "2h"}):
        page.goto(host_path(**invalid))
        expect(page.locator(".range-bar .note")).to_contain_text("not valid")
