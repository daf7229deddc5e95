"""Authentication: requests need the token if one is set, otherwise a Host header that names this machine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sparkle_app.config.loading import load_settings
from sparkle_app.web.api import openapi
from sparkle_app.web.api.pipeline import Pipeline
from sparkle_app.web.api.replay import Replays
from sparkle_app.web.api.routes import routes
from sparkle_app.web.api.window_queries import WindowQueries
from sparkle_app.web.authentication import PUBLIC
from sparkle_app.web.dashboard.page import ASSETS, VIEWS
from sparkle_app.web.routing import middlewares
from sparkle_app.web.snapshots.views import Views
from tests.support.cluster import InProcessWorker, assign

TOKEN = "s3cret-токен"
Send = Callable[..., Awaitable[tuple[int, dict[str, str], str]]]


@asynccontextmanager
async def server(folder: Path, *lines: str) -> AsyncIterator[Send]:
    """A server with one page; yields a function that sends a request with exactly these header lines."""
    (folder / "settings.yaml").write_text("\n".join(lines))

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="protected content")

    application = web.Application(middlewares=middlewares(load_settings(folder / "settings.yaml")))
    for path in (*PUBLIC, *VIEWS, f"{ASSETS}{{name:.+}}", "/page"):
        application.router.add_get(path, page)
    async with TestServer(application) as running:

        async def request(
            *headers: str | bytes, path: str = "/page", version: str = "1.1"
        ) -> tuple[int, dict[str, str], str]:
            reader, writer = await asyncio.open_connection(running.host, running.port)
            head = [each if isinstance(each, bytes) else each.encode() for each in headers]
            writer.write(
                b"\r\n".join([f"GET {path} HTTP/{version}".encode(), *head, b"Connection: close", b"", b""])
            )
            response = (await reader.read()).decode()
            writer.close()
            status_line, *rest = response.partition("\r\n\r\n")[0].split("\r\n")
            found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
            return int(status_line.split()[1]), found, response.partition("\r\n\r\n")[2]

        yield request


@pytest.mark.parametrize(
    "authorization",
    [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER   {TOKEN}  "],
)
async def test_with_the_token_any_host_header_is_accepted(tmp_path: Path, authorization: str) -> None:
    async with server(tmp_path, f"web: {{token: {TOKEN}}}") as request:
        status, _, body = await request("Host: monitoring.example", f"Authorization: {authorization}")
        assert (status, body) == (200, "protected content")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["Authorization:"],
        ["Authorization: Bearer"],
        ["Authorization: Bearer "],
        [f"Authorization: {TOKEN}"],
        [f"Authorization: Basic {TOKEN}"],
        [f"Authorization: Bearer{TOKEN}"],
        [f"Authorization: Bearer {TOKEN[:-1]}"],
        [f"Authorization: Bearer {TOKEN}x"],
        [f"Authorization: Bearer {TOKEN.upper()}"],
        [f"Authorization: Bearer Bearer {TOKEN}"],
        [b"Authorization: Bearer \xff\xfe"],
        ["Authorization: Bearer wrong", f"Authorization: Bearer {TOKEN}"],
        [f"X-Authorization: Bearer {TOKEN}"],
        [f"Cookie: token={TOKEN}"],
    ],
)
async def test_a_request_without_the_token_is_rejected_with_a_challenge(
    tmp_path: Path, headers: list[str | bytes]
) -> None:
    async with server(tmp_path, f"web: {{token: {TOKEN}}}") as request:
        # Even if the Host header names this machine.
        status, found, body = await request("Host: 127.0.0.1", *headers)
        assert status == 401
        assert found["www-authenticate"] == "Bearer"
        assert found["content-type"].startswith("application/problem+json")
        assert "protected content" not in body
        assert TOKEN not in body


async def test_without_a_token_there_are_the_files_of_the_page_and_what_a_terminal_is_told(
    tmp_path: Path,
) -> None:
    async with server(tmp_path, f"web: {{token: {TOKEN}}}") as request:
        for path in (*VIEWS, f"{ASSETS}0123/app.js"):
            assert (await request("Host: monitoring.example", path=path))[0] == 200, path
        for path in VIEWS:
            status, headers, _ = await request("Host: monitoring.example", "Accept: text/html", path=path)
            target = "/login" if path == "/" else f"/login?next={path}"
            assert (status, headers["location"]) == (303, target)
        for path in ("/assets", "/hosts"):
            assert (await request("Host: monitoring.example", path=path))[0] == 401, path


async def test_a_malformed_header_is_rejected(tmp_path: Path) -> None:
    async with server(tmp_path, f"web: {{token: {TOKEN}}}") as request:
        status, _, body = await request("Host: 127.0.0.1", f"Authorization : Bearer {TOKEN}")
        assert status == 400
        assert "protected content" not in body


@pytest.mark.parametrize("token", ["null", "''"])
@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:6066", "127.0.0.1", "127.0.0.1:1", "[::1]:6066", "worker-7.example:6066"],
)
async def test_without_a_token_a_host_header_of_this_machine_is_accepted(
    tmp_path: Path, host: str, token: str
) -> None:
    line = f"web: {{token: {token}, public_url: 'http://worker-7.example:80'}}"
    async with server(tmp_path, line) as request:
        status, _, body = await request(f"Host: {host}")
        assert (status, body) == (200, "protected content")


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example",
        "localhost.attacker.example",
        "127.0.0.1.attacker.example:6066",
        "attacker.example:127",
        "127.0.0.2",
        "0.0.0.0",
        "",
        "[::1",
        "localhost:port",
        "localhost:99999",
    ],
)
async def test_without_a_token_a_host_header_of_another_site_is_rejected(tmp_path: Path, host: str) -> None:
    async with server(tmp_path) as request:
        # As a browser sends it after DNS rebinding, even with a token.
        status, found, body = await request(f"Host: {host}", f"Authorization: Bearer {TOKEN}")
        assert status == 403
        assert found["content-type"].startswith("application/problem+json")
        assert "protected content" not in body


@pytest.mark.parametrize("line", ["", f"web: {{token: {TOKEN}}}"])
@pytest.mark.parametrize(
    ("path", "public"),
    [
        ("/health/live", True),
        ("/health/live?x=1", True),
        ("/health/%6Cive", True),
        ("/health/ready", True),
        ("/health/ready?x=1", True),
        ("/health/ready/", False),
        ("/health/", False),
        ("/health/live/", False),
        ("/health//live", False),
        ("/HEALTH/LIVE", False),
        ("/page", False),
        ("/page?/health/live", False),
        ("/health/live/../../page", False),
        ("/nothing", False),
    ],
)
async def test_only_a_public_path_needs_no_authentication(
    tmp_path: Path, line: str, path: str, public: bool
) -> None:
    async with server(tmp_path, line) as request:
        status, _, _ = await request("Host: attacker.example", path=path)
        # The status does not reveal which paths exist, either.
        assert status == (200 if public else 403 if not line else 401)


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[InProcessWorker]:
    worker = InProcessWorker(tmp_path / "worker", "web: {token: secret}")
    await worker.start()
    assign([worker], {0, 1, 2, 3})
    yield worker
    await worker.stop()


async def test_each_route_is_public_if_it_is_declared_so(worker: InProcessWorker) -> None:
    """The table of routes, the OpenAPI document and the middleware agree."""
    parts = worker.parts
    table = routes(parts, WindowQueries(parts), Views(parts), Pipeline(parts), Replays(parts))
    document = openapi.document(table, token=True, cookie="x-session")
    public_paths = set()
    for route in table:
        url = worker.url + route.path.format(plugin="Temperature", host="host", key="key")
        for headers in ({}, {"Authorization": "Bearer secret"}):
            async with worker.http.request(route.method, url, headers=headers) as response:
                if not headers:
                    assert response.status == (200 if route.public else 401), url
                else:
                    # What writes needs another token.
                    assert (response.status == 403) is route.writes, url
                    assert response.status != 401, url
        assert ("security" in document["paths"][route.path][route.method]) is not route.public
        if route.public:
            public_paths.add(route.path)
    assert public_paths == PUBLIC == {"/health/live", "/health/ready"}


READY = {
    "ready": True,
    "checks": {
        "broker": "ok",
        "tables": "ok",
        "database": "ok",
        "pipelines": "ok",
        "private keys": "ok",
        "clock": "ok",
    },
}


async def test_a_probe_without_the_token_learns_whether_the_worker_is_ready_and_no_more(
    worker: InProcessWorker,
) -> None:
    path, token = "/health/ready", {"Authorization": "Bearer secret"}
    for headers in ({}, {"Host": "balancer.example"}, {"Authorization": "Bearer wrong"}):
        assert await worker.get(path, **headers) == (200, {"ready": True})
    assert await worker.get(path, **token) == (200, READY)
    cast(dict[str, str], worker.parts.warnings)["disk"] = "/data is nearly full"
    assert await worker.get(path) == (200, {"ready": True})
    assert await worker.get(path, **token) == (200, READY | {"warnings": {"disk": "/data is nearly full"}})
    worker.group.complete = False
    assert await worker.get(path, Host="balancer.example") == (503, {"ready": False})
    status, found = await worker.get(path, **token)
    assert (status, found["ready"], found["checks"]["tables"] != "ok") == (503, False, True)
    # It is no way around the validation of parameters either.
    assert (await worker.get(f"{path}?x=1"))[0] == 400


async def test_without_a_configured_token_the_host_header_decides_on_the_details(tmp_path: Path) -> None:
    worker = InProcessWorker(tmp_path / "worker")
    await worker.start()
    assign([worker], {0, 1, 2, 3})
    assert await worker.get("/health/ready") == (200, READY)
    assert await worker.get("/health/ready", Host="balancer.example") == (200, {"ready": True})
    await worker.stop()


async def test_paths_outside_the_table_of_routes_need_the_token(worker: InProcessWorker) -> None:
    assert (await worker.get(openapi.PATH))[0] == 401
    status, document = await worker.get(openapi.PATH, Authorization="Bearer secret")
    assert (status, document["openapi"]) == (200, "3.1.0")
