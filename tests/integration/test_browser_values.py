"""Values in a browser: rounded without a lie, and what is shown together belongs together."""

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Route, expect
from sqlalchemy.engine import make_url

from sparkle_app.model.host_activity import HostActivity
from sparkle_app.model.time import LATEST, from_seconds
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.hosts import record_activity
from tests.integration.conftest import Visit
from tests.support.browser import UPDATES, called
from tests.support.fleet import Fleet
from tests.support.host_history import HOST
from tests.support.host_page import chart, host_path, wait_for_host

pytestmark = pytest.mark.any_broker
WARNING = {"when": "above", "value": 80.0, "severity": "warning"}


def plugin(unit: str = "%", quantity: str = "number", decimals: int = 0, *thresholds: Any) -> dict[str, Any]:
    panel = {"quantity": quantity, "decimals": decimals, "thresholds": list(thresholds)}
    return {"unit": unit, "panel": panel}


def test_a_rounded_value_is_on_the_same_side_of_a_threshold(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open()
    load = plugin("%", "ratio", 0, WARNING)
    memory = plugin("B", "bytes", 0, {**WARNING, "value": 1024.0})
    texts = called(
        page,
        "values.js",
        "quantity",
        *([value, load] for value in (79.4, 79.96, 80, 80.4, 80.0004, 94.6, None)),
        *([value, memory] for value in (1023, 1024, 1025, 1600)),
        [0, load],
        [80, plugin("%", "ratio", 1, {**WARNING, "when": "below"})],
    )
    assert [each.replace("\u00a0", " ") for each in texts] == [
        *("79 %", "80 %", "80 %", "80.4 %", "80.0004 %", "95 %", "–"),
        *("1,023 B", "1 KiB", "1.001 KiB", "2 KiB"),
        "0 %",
        "80.0 %",
    ]
    bounds = called(
        page,
        "values.js",
        "bound",
        [80, load],
        [2.5, load],
        [1.25, plugin("V", "voltage", 1)],
        [0.5, plugin("s", "duration", 0)],
        [1536, memory],
    )
    assert [each.replace("\u00a0", " ") for each in bounds] == ["80 %", "2.5 %", "1.25 V", "0.5 s", "1.5 KiB"]


def test_a_short_duration_has_its_decimals(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open()
    values = (0.25, 59.96, 59.9, 60, 119, 3700, 200_000, -3)
    texts = called(page, "values.js", "quantity", *([value, plugin("s", "duration", 1)] for value in values))
    assert texts == [
        *("0.3 s", "1 min", "59.9 s", "1 min", "1 min 59 s"),
        *("1 h 2 min", "2 d 8 h", "−3.0 s"),
    ]


def test_a_duration_is_on_the_same_side_of_a_threshold(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open()

    def durations(function: str, bound: float, *values: float) -> Any:
        limited = plugin("s", "duration", 0, {**WARNING, "value": bound})
        return called(page, "values.js", function, *([value, limited] for value in values))

    assert durations("quantity", 90, 75, 90, 90.2, 110) == [
        "1 min 15 s",
        "1 min 30 s",
        "1 min 30.2 s",
        "1 min 50 s",
    ]
    assert durations("quantity", 7200, 7199, 7210, 7260) == ["2 h", "2 h 10 s", "2 h 1 min"]
    assert durations("quantity", 86_400, 86_390, 86_410, 90_000) == ["1 d", "1 d 10 s", "1 d 1 h"]
    assert durations("bound", 0, 90, 5400, 3690, 86_401, 90.25) == [
        *("1 min 30 s", "1 h 30 min", "1 h 1 min 30 s", "1 d 1 s", "1 min 30.25 s")
    ]


def test_marks_of_an_axis_differ(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open()

    def marks(kind: dict[str, Any], step: float, *values: float) -> list[str]:
        found = called(page, "chart_scale.js", "axisValue", *([value, step, kind] for value in values))
        return [each.replace("\u00a0", " ") for each in found]

    seconds = plugin("s", "duration", 0)
    assert marks(seconds, 20, 60, 80, 100, 120) == ["1 min", "1 min 20 s", "1 min 40 s", "2 min"]
    assert marks(seconds, 1800, 86_400, 88_200, 90_000) == ["1 d", "1 d 30 min", "1 d 1 h"]
    assert marks(seconds, 0.5, 60, 60.5, 61) == ["1 min", "1 min 0.5 s", "1 min 1 s"]
    assert marks(plugin("B", "bytes", 0), 256, 1024, 1280, 1536) == ["1 KiB", "1.25 KiB", "1.5 KiB"]
    assert marks(plugin("Hz", "frequency", 1), 5e9, 0, 5e9) == ["0.0 Hz", "5.0 GHz"]


def test_a_value_in_a_cell_is_short_and_right_to_its_last_digit(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open()
    values = (4.256, 42.5, 425.4, 999.4, 999.6, 1499, 1500, 15_400, 999_499, -2_000_000, 3e18, 2e30)
    texts = called(
        page, "components/heat_map.js", "brief", *([value, plugin("rpm", "speed", 1)] for value in values)
    )
    assert texts == [
        *("4.3", "42.5", "425", "999", "1.0k", "1.5k", "1.5k", "15k", "999k"),
        *("-2.0M", "3.0E", "2e30"),
    ]
    others = called(
        page,
        "components/heat_map.js",
        "brief",
        [17_179_869_184, plugin("B", "bytes", 1)],
        [7_200, plugin("s", "duration", 0)],
        [59, plugin("s", "duration", 0)],
        [5e9, plugin("Hz", "frequency", 1)],
    )
    # As in the table: 16.0 GiB, 2 h, 59 s and 5.0 GHz.
    assert [each.replace("\u00a0", " ") for each in others] == ["16G", "2 h", "59", "5.0G"]


def test_a_gap_is_measured_by_the_interval_of_the_host(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open()
    daily = [{"x": [86_400 * day for day in range(30)]}]
    # A host that sends every minute, but is switched on once a day; one of which the interval is not known.
    assert called(page, "host_data.js", "gapOf", [daily, 60, 7200], [daily, 0, 7200]) == [10_800, 216_001]


def test_a_gap_is_one_in_its_own_line_only(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open()
    lines = [{"x": [0, 60, 300, 360], "value": [1, 2, 3, 4]}, {"x": [60, 120], "value": [5, 6]}]
    (found,) = called(page, "lines.js", "aligned", [lines, 151])
    # None: a gap; a line that has no point at a time goes on.
    assert found["data"][0] == [0, 60, 120, 180, 300, 360]
    assert found["data"][1] == [1, 2, None, None, 3, 4]
    gaps = page.evaluate(
        """async (lines) => {
            const { aligned } = await import(new URL("lines.js", document.querySelector("script[type=module]").src));
            return aligned(lines, 151).data.slice(1).map((line) => [...line].map((value) => value === null));
        }""",
        lines,
    )
    assert gaps == [[False, False, False, True, False, False], [False] * 6]


@pytest.mark.parametrize(("compare", "days"), [("day", 1), ("week", 7)])
def test_a_line_is_compared_with_the_same_time_of_an_earlier_day(
    history: Fleet, visit: Visit, compare: str, days: int
) -> None:
    now = time.time() - 120
    history.send("Temperature", "core/0", {f"past-{compare}": 61.5}, now)
    history.send("Temperature", "core/0", {f"past-{compare}": 40.5}, now - days * 86_400)
    wait_for_host(history, f"past-{compare}")
    page = visit(history.worker).open(host_path(f"past-{compare}", range="15m", compare=compare))
    figure = chart(page, "core")
    expect(figure.locator("canvas")).to_be_visible()
    # Both are in one scale, and the legend has the present one.
    expect(figure.locator(".chart-legend li")).to_contain_text("61.5")
    found = page.evaluate(
        """async ([host, compare]) => {
            const url = (name) => new URL(name, document.querySelector("script[type=module]").src);
            const { pluginData } = await import(url("host_data.js"));
            const { rangeOf } = await import(url("ranges.js"));
            const { plugins } = await (await fetch("/api/v1/plugins")).json();
            const plugin = plugins.find((each) => each.name === "Temperature");
            const range = rangeOf(new URLSearchParams("range=15m"), Date.now());
            return pluginData({ plugin, host, range, compare, apart: false, known: undefined });
        }""",
        [f"past-{compare}", compare],
    )
    (earlier,) = found["compared"]
    assert earlier["value"] == [40.5]
    assert abs(earlier["x"][0] - now) <= 60


def test_a_metric_may_have_the_name_of_what_every_object_has(history: Fleet, visit: Visit) -> None:
    for metric in ("constructor", "toString", "__proto__"):
        history.send("Temperature", metric, {"names": 41.0})
    wait_for_host(history, "names")
    page = visit(history.worker).open(host_path("names", range="6h"))
    legend = page.locator("figure .chart-legend li")
    expect(legend).to_have_count(3)
    assert sorted(each.split("\n")[0] for each in legend.all_inner_texts()) == [
        "__proto__",
        "constructor",
        "toString",
    ]


def test_what_has_the_focus_keeps_it_when_it_is_drawn_again(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open()
    link = page.get_by_role("columnheader", name="Host").get_by_role("link")
    link.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("sort=host"))
    expect(link).to_be_focused()
    page.goto(host_path(range="1h"))
    figure = chart(page, "coretemp")
    figure.get_by_role("button", name="Show as table").click()
    figure.locator(".points").focus()
    row = figure.locator("tbody tr").first.element_handle()
    history.send("Temperature", "coretemp/Core 0", {HOST: 44.0})
    # Drawn again, with another first row.
    page.wait_for_function("(row) => !row.isConnected", arg=row)
    expect(figure.locator(".points")).to_be_focused()


def test_charts_are_as_old_as_they_are(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open(host_path(range="24h"))
    expect(page.locator("figure").first).to_be_visible()
    page.evaluate(UPDATES, 4)
    expect(page.locator(".freshness")).to_have_text(re.compile(r"^2\d s ago$"))
    # After half a minute, they are requested again.
    page.evaluate(UPDATES, 3)
    expect(page.locator(".freshness")).to_have_text(re.compile(r"^\d s ago$"))


def test_thresholds_that_have_changed_are_used_without_reloading(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open()
    expect(page.get_by_role("columnheader", name="Temperature")).to_be_visible()

    def upgraded(route: Route) -> None:
        response = route.fetch()
        found = response.json()
        for each in found["plugins"]:
            each["panel"]["title"] = f"New {each['name']}"
        route.fulfill(response=response, json=found)

    page.route("**/api/v1/plugins", upgraded)
    page.evaluate(UPDATES, 2)
    expect(page.get_by_role("columnheader", name="New Temperature")).to_have_count(0)
    page.evaluate(UPDATES, 12)
    page.get_by_role("columnheader", name="Host").get_by_role("link").click()
    expect(page.get_by_role("columnheader", name="New Temperature")).to_be_visible()


def test_a_host_whose_last_value_is_not_known_is_not_ok(history: Fleet, visit: Visit) -> None:
    """It sends every ten minutes: half an hour must pass before it is silent."""
    at = from_seconds(time.time() - 1200)
    engine = make_engine(make_url(history.database))
    record_activity(engine, [HostActivity("slow", "Temperature", 1, at, at, at, at, 600_000_000)], LATEST)
    engine.dispose()
    wait_for_host(history, "slow")
    page = visit(history.worker).open("/?search=slow")
    expect(page.locator("tbody .state")).to_have_text("Unknown")
    page.get_by_role("link", name="Unknown 1").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert page.url.endswith("/?state=unknown&search=slow") or page.url.endswith(
        "/?search=slow&state=unknown"
    )


def test_beside_four_plugins_a_short_hostname_is_not_broken(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open()
    name = page.locator("table.hosts tbody th .name", has_text=HOST)
    assert name.evaluate("(element) => element.getClientRects().length") == 1
