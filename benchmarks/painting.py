"""How long a browser takes until it shows the overview, compared with an empty page of the same worker."""

import asyncio
import json
import statistics
import sys
from itertools import chain
from pathlib import Path

from playwright.sync_api import Browser

from benchmarks.overview import in_another_process, serving
from tests.support.browser import chromium

VISITS = 9
"""Of each page, one after the other, each with an empty cache."""
EMPTY = ("/health/live", "body")
OVERVIEW = ("/", "table.hosts tbody tr")
"""Path, and what is looked for."""
_WHEN_PAINTED = """
    globalThis.painted = new Promise((resolve) => {
        const look = () => {
            const box = document.querySelector(%s)?.getBoundingClientRect();
            // The frame with it is painted before the next one begins.
            requestAnimationFrame(box?.height ? () => resolve(performance.now()) : look);
        };
        look();
    });
"""
Figures = dict[str, float]


def measure(folder: Path, hosts: int, metrics: int) -> Figures:
    """Open the overview of a worker that somebody has looked at before.

    Returns:
        ``empty`` and ``painted``: medians of the times in milliseconds from the navigation until the body of an empty
        page, and the table of hosts, is painted; ``ratio`` of the two; ``painted_most``: the longest time.
    """
    return asyncio.run(_measure(folder, hosts, metrics))


async def _measure(folder: Path, hosts: int, metrics: int) -> Figures:
    async with serving(folder, hosts, metrics) as (worker, _):
        empty, painted = await in_another_process("benchmarks.painting", worker.url)
    found = {"empty": statistics.median(empty), "painted": statistics.median(painted)}
    return {**found, "ratio": found["painted"] / found["empty"], "painted_most": max(painted)}


def visits(url: str) -> tuple[list[float], list[float]]:
    """The times of the empty page, and those of the overview."""
    with chromium() as browser:
        # The first ones start processes of the browser.
        for path, selector in (EMPTY, OVERVIEW):
            _painted(browser, url + path, selector)
        found = chain.from_iterable(
            (_painted(browser, url + path, selector) for path, selector in (EMPTY, OVERVIEW))
            for _ in range(VISITS)
        )
        times = list(found)
    return times[::2], times[1::2]


def _painted(browser: Browser, url: str, selector: str) -> float:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_init_script(_WHEN_PAINTED % json.dumps(selector))
    page = context.new_page()
    page.goto(url, wait_until="commit")
    painted: float = page.evaluate("painted")
    context.close()
    return painted


if __name__ == "__main__":
    print(json.dumps(visits(sys.argv[1])))
