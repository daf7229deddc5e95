"""Sends requests as a browser does, to a worker's web server in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse
from yarl import URL

from tests.support.cluster import InProcessWorker, assign

TOKENS = "token: 'read ключ', operator_token: 'operate'"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PLUGINS = "/api/v1/plugins"


async def send(
    worker: InProcessWorker, path: str, method: str = "GET", data: Any = None, **headers: str
) -> ClientResponse:
    """Send a request with these headers (``Sec_Fetch_Site=…``); the body is read, redirects are not followed."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = URL(worker.url + path, encoded=True)
    async with worker.http.request(method, url, data=data, headers=named, allow_redirects=False) as response:
        await response.read()
        return response


async def log_in(worker: InProcessWorker, token: str, target: str = "/", **headers: str) -> ClientResponse:
    """Send the form of the login page."""
    return await send(worker, "/login", "POST", {"token": token, "next": target}, **headers)


async def cookie_of(worker: InProcessWorker, token: str) -> str:
    """The cookie that a browser sends after logging in."""
    response = await log_in(worker, token)
    return response.headers["Set-Cookie"].partition(";")[0]


class Form(HTMLParser):
    """The fields of a form, the texts of the page and the addresses that it names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fields: dict[str, str | None] = {}
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append(tag)
        if tag == "input":
            self.fields[str(attributes["name"])] = attributes.get("value")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@asynccontextmanager
async def two_workers(folder: Path) -> AsyncIterator[list[InProcessWorker]]:
    """Two workers with the same tokens."""
    first, second = (InProcessWorker(folder / name, f"web: {{{TOKENS}}}") for name in ("a", "b"))
    async with first, second:
        assign([first, second], {0, 1}, {2, 3})
        yield [first, second]
