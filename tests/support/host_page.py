"""The page of a host in a browser, for tests."""

import re
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from playwright.sync_api import Locator, Page, Route

from tests.support.eventually import eventually
from tests.support.fleet import Fleet
from tests.support.host_history import HOST

CANVAS_TEXTS = """
    const { fillText } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
        (this.canvas.texts ??= []).push(text);
        return fillText.call(this, text, ...place);
    };
    const { clearRect } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.clearRect = function (...place) {
        this.canvas.texts = [];
        return clearRect.call(this, ...place);
    };
"""
"""Each canvas remembers what is written in it."""


def host_path(host: str = HOST, **query: str) -> str:
    """The path of the page of a host."""
    return f"/host?{urlencode({'name': host, **query})}"


def chart(page: Page, title: str) -> Locator:
    """The chart with a title."""
    return page.locator("figure.chart", has=page.get_by_role("heading", name=title, exact=True))


def scales(figure: Locator) -> list[list[str]]:
    """The texts of the vertical axes of a chart's canvases, which CANVAS_TEXTS remembers."""
    found = figure.locator("canvas").evaluate_all("(all) => all.map(({ texts }) => texts)")
    return [[text for text in texts if re.fullmatch(r"\d+(\.\d+)?", text)] for texts in found]


def wait_for_host(history: Fleet, host: str) -> None:
    """Wait until the overview has a host."""
    eventually(
        lambda: history.worker.get(f"/api/v1/hosts/{quote(host, safe='')}"),
        lambda found: found[0] == 200,
        seconds=150,
    )


def range_in_url(page: Page) -> tuple[datetime, datetime]:
    """The range in the URL."""
    found = dict(re.findall(r"(from|to)=([^&]+)", page.url.replace("%3A", ":")))
    first, last = (datetime.fromisoformat(found[each]) for each in ("from", "to"))
    return first, last


def drag(page: Page, figure: Locator, start: float, end: float) -> None:
    """Drag over the plot, from one part of its width to another."""
    figure.scroll_into_view_if_needed()
    box = figure.locator(".u-over").bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], y, steps=4)
    page.mouse.up()


def drawn(figure: Locator, colour: str) -> int:
    """The number of pixels of a canvas that have about the colour of a line."""
    count: int = figure.locator("canvas").evaluate(
        """async (canvas, name) => {
            const base = document.querySelector("script[src]").src.replace(/[^/]*$/, "");
            const { colours } = await import(`${base}theme.js`);
            const [red, green, blue] = colours(name)[0].match(/\\d+/g).map(Number);
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let found = 0;
            for (let at = 0; at < data.length; at += 4) {
                const far = Math.abs(data[at] - red) + Math.abs(data[at + 1] - green) + Math.abs(data[at + 2] - blue);
                if (data[at + 3] > 128 && far < 60) found += 1;
            }
            return found;
        }""",
        colour,
    )
    return count


def changed(page: Page, plugin: str, what: str, changes: dict[str, Any]) -> None:
    """Change what a worker answers about a plugin of a host."""

    def answer(route: Route) -> None:
        response = route.fetch()
        # What has not changed is not sent again.
        if response.status == 200:
            route.fulfill(response=response, json=response.json() | changes)
        else:
            route.fulfill(response=response)

    page.route(re.compile(f"/api/v1/plugins/{plugin}/hosts/[^/]+/{what}"), answer)
