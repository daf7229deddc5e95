"""The page in Chromium, and everything that goes wrong in it."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.support.faults import unexpected
from tests.support.worker import Worker

WAIT_MS = 20_000
"""For what a page shall show."""
expect.set_options(timeout=WAIT_MS)
_REPORT_VIOLATIONS = """
    document.addEventListener("securitypolicyviolation", (event) =>
        console.error(`violates the policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


LOOKS = [("light", "en-GB", 1280), ("dark", "ru-RU", 1280), ("dark", "en-GB", 390), ("light", "ru-RU", 390)]
"""Colours, language and width: each with each other."""
UPDATES = """
    async (count) => {
        const assets = document.querySelector("script[type=module]").src;
        const { store } = await import(new URL("store.js", assets));
        globalThis.unshifted ??= Date.now;
        globalThis.shift ??= 0;
        Date.now = () => unshifted() + shift;
        for (let done = 0; done < count; done += 1) {
            shift += 5000;
            const shown = new Promise((resolve) => {
                const end = store.subscribe("connection", () => (end(), resolve()));
            });
            dispatchEvent(new Event("focus"));
            await shown;
        }
    }
"""
"""Loads and shows everything again and again, as polling does: each time, five seconds seem to have passed."""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium. Within the context, the thread cannot run asyncio."""
    program = shutil.which("chromium")
    if not program:
        pytest.fail("the browser is missing; install the package chromium")
    arguments = [
        # As root, as in CI.
        "--no-sandbox",
        # What is not on this machine does not exist.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """Somebody who looks at the page of a worker.

    Arguments:
        options: of the browser's context, such as ``color_scheme="dark"``, ``locale="ru-RU"`` or ``viewport``.
    """

    def __init__(self, browser: Browser, worker: Worker, **options: Any) -> None:
        self.worker = worker
        self.expected: list[str] = []
        """Patterns of faults that the test provokes."""
        self.faults: list[str] = []
        """Errors and warnings of the console, exceptions, failed requests, to which all that go elsewhere belong, and
        violations of the content security policy."""
        options = {"locale": "en-GB", "timezone_id": "Europe/Berlin", "color_scheme": "light"} | options
        self.context = browser.new_context(base_url=worker.url, **options)
        self.context.set_default_timeout(WAIT_MS)
        self.context.add_init_script(_REPORT_VIOLATIONS)
        self.context.on("page", self._watch)
        self.page: Page = self.context.new_page()

    def open(self, path: str = "/") -> Page:
        """The page at a path, when it has shown its first data."""
        self.page.goto(path)
        self.page.locator(".freshness[data-state=fresh]").wait_for()
        return self.page

    def close(self) -> None:
        """End the visit.

        Raises:
            AssertionError: if there were faults that were not expected.
        """
        for page in self.context.pages:
            # What a test answers instead of the worker may not outlive the context.
            page.unroute_all(behavior="ignoreErrors")
        self.context.close()
        faults = unexpected(self.faults, self.expected)
        assert not faults, "\n".join(faults)

    def _watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"exception: {error}\n{error.stack}"))
        page.on("requestfailed", self._failed)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text} {message.location.get('url', '')}")

    def _failed(self, request: Request) -> None:
        # The page itself ends a request whose answer it does not need any more.
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"request failed: {request.url}: {request.failure}")


def axe_script() -> str:
    """The script of axe-core, for the context of a visitor: ``add_init_script``."""
    (file,) = (
        file for file in distribution("axe-playwright-python").files or [] if file.name == "axe.min.js"
    )
    return Path(str(file.locate())).read_text("utf-8")


def violations(page: Page) -> list[tuple[str, str]]:
    """What axe-core finds: the rule, and the first element that violates it."""
    found = page.evaluate("axe.run()")["violations"]
    return [(each["id"], each["nodes"][0]["html"]) for each in found]


def assert_does_not_grow(page: Page, between: Callable[[], object] = lambda: None) -> None:
    """Assert that a page that is left open takes no more memory after 500 updates.

    Arguments:
        between: what else is done before each measurement.
    """
    # Meanwhile the browser compiles what runs often, which is part of the heap.
    page.evaluate(UPDATES, 300)
    between()
    heap, nodes, listeners = used_memory(page)
    page.evaluate(UPDATES, 500)
    between()
    heap_after, nodes_after, listeners_after = used_memory(page)
    assert heap_after < heap * 1.1
    assert nodes_after < nodes * 1.05
    assert listeners_after == listeners


def used_memory(page: Page) -> tuple[float, int, int]:
    """Bytes of the heap, nodes and listeners, after collecting garbage."""
    browser = page.context.new_cdp_session(page)
    for _ in range(3):
        browser.send("HeapProfiler.collectGarbage")
    counters = browser.send("Memory.getDOMCounters")
    heap = browser.send("Runtime.getHeapUsage")["usedSize"]
    browser.detach()
    return heap, counters["nodes"], counters["jsEventListeners"]


_CALLED = """
    async ([file, name, calls]) => {
        const found = await import(new URL(file, document.querySelector("script[type=module]").src));
        return calls.map((each) => found[name](...each));
    }
"""


def called(page: Page, file: str, name: str, *calls: Sequence[object]) -> Any:
    """What a function of the page returns, for each list of arguments."""
    return page.evaluate(_CALLED, [file, name, list(calls)])
