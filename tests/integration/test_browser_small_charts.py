"""The lines of a host apart from each other: a small chart for each, with the same times and the same scale."""

import re

import pytest
from playwright.sync_api import expect

from tests.integration.conftest import Visit
from tests.support.browser import axe_script, violations
from tests.support.fleet import Fleet
from tests.support.host_history import CORES
from tests.support.host_page import CANVAS_TEXTS, chart, host_path, scales

pytestmark = pytest.mark.any_broker


def test_each_line_has_a_chart_with_the_scale_of_all(history: Fleet, visit: Visit) -> None:
    visitor = visit(history.worker)
    visitor.context.add_init_script(CANVAS_TEXTS)
    page = visitor.open(host_path())
    figure = chart(page, "coretemp")
    expect(figure.locator("canvas")).to_have_count(1)
    page.get_by_label("Lines", exact=True).select_option("A chart for each line")
    expect(page).to_have_url(re.compile("lines=apart"))
    names = figure.locator(".small-charts .name")
    expect(names).to_have_text(["coretemp/Core 0", "coretemp/Core 1"])
    expect(figure.locator("canvas")).to_have_count(2)
    first, second = scales(figure)
    assert first == second != []
    expect(chart(page, "Cores").locator("canvas")).to_have_count(CORES)
    # One line remains as it is.
    expect(chart(page, "nvme").locator(".small-charts")).to_have_count(0)
    expect(chart(page, "nvme").locator("canvas")).to_have_count(1)
    # What the legend hides has no chart.
    figure.locator(".chart-legend button", has_text="Core 0").click()
    expect(names).to_have_text(["coretemp/Core 1"])
    figure.locator(".chart-legend button", has_text="Core 0").click()
    expect(figure.locator("canvas")).to_have_count(2)
    figure.get_by_role("button", name="Show as table").click()
    expect(figure.locator("canvas")).to_have_count(0)
    figure.get_by_role("button", name="Show as chart").click()
    expect(figure.locator("canvas")).to_have_count(2)
    page.reload()
    expect(names).to_have_count(2)
    page.go_back()
    expect(figure.locator("canvas")).to_have_count(1)
    expect(page.locator(".small-charts")).to_have_count(0)


def test_they_have_one_cursor_and_each_point_has_its_readings(history: Fleet, visit: Visit) -> None:
    page = visit(history.worker).open(host_path(lines="apart"))
    figure = chart(page, "coretemp")
    plots = figure.locator(".small-charts .u-over")
    plots.first.scroll_into_view_if_needed()
    box = plots.first.bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    expect(figure.locator(".at")).to_have_text(re.compile(r"\d\d:\d\d:\d\d$"))
    lines = figure.locator(".u-cursor-x").evaluate_all("(all) => all.map(({ style }) => style.transform)")
    assert len(lines) == 2
    assert lines[0] == lines[1]
    expect(figure.locator(".small-charts .number")).to_have_text([re.compile(r"^\d\d\.\d.°C$")] * 2)
    # Also those of other plugins.
    expect(chart(page, "Cores").locator(".at")).to_have_text(re.compile(r"\d\d:\d\d:\d\d$"))
    figure.locator(".plot").focus()
    for key in ("End", "Shift+ArrowLeft"):
        page.keyboard.press(key)
    page.keyboard.press("ArrowDown")
    marked = figure.locator(".small-charts [data-highlighted]")
    expect(marked.locator(".name")).to_have_text("coretemp/Core 1")
    # A point that is clicked on is that of its chart.
    found = figure.locator(".small-charts .u-cursor-pt").nth(1).bounding_box()
    assert found
    page.mouse.click(found["x"] + found["width"] / 2, found["y"] + found["height"] / 2)
    dialog = page.get_by_role("dialog", name="Readings of this point")
    expect(dialog.locator(".of-point .name")).to_have_text("coretemp/Core 1")
    expect(dialog.locator("li")).to_have_count(1)


@pytest.mark.parametrize(("scheme", "locale", "width"), [("dark", "en-GB", 1280), ("light", "ru-RU", 360)])
def test_axe_finds_nothing(history: Fleet, visit: Visit, scheme: str, locale: str, width: int) -> None:
    visitor = visit(
        history.worker, color_scheme=scheme, locale=locale, viewport={"width": width, "height": 800}
    )
    visitor.context.add_init_script(axe_script())
    page = visitor.open(host_path(lines="apart", compare="day"))
    expect(page.locator(".small-charts canvas").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert violations(page) == []
