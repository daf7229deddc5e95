"""Sends requests as a browser does, to a worker's web server in this process."""

from typing import Any

from aiohttp import ClientResponse
from yarl import URL

from tests.support.cluster import InProcessWorker


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
