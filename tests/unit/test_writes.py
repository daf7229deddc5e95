"""Requests that change something: who may send them, and from which page."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sparkle_app.config.settings import Settings
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.web.api.pipeline import PIPELINE_PATH
from sparkle_app.web.api.replay import REPLAY_PATH
from sparkle_app.web.partition_router import INTERNAL_PATH, SCHEME, WindowQuery, WorkersSecret
from sparkle_app.web.routing import middlewares
from sparkle_app.web.snapshots.lines import LINES_PATH, LinesQuery, View
from tests.support.cluster import PLUGIN, SHARED_KEY, InProcessWorker, assign
from tests.support.login import cookie_of, send

REPLAY = "/api/v1/dead-letters/replay"
BOTH = "web: {token: read, operator_token: operate}"


@pytest.fixture
async def worker(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[InProcessWorker]:
    """A worker with the settings of the parameter; by default with both tokens."""
    worker = InProcessWorker(tmp_path / "worker", getattr(request, "param", BOTH))
    await worker.start()
    assign([worker], {0, 1, 2, 3})
    yield worker
    await worker.stop()


async def status(worker: InProcessWorker, **headers: str) -> int:
    """The status of a request to replay dead letters that selects none: 400 if it may be sent."""
    return (await send(worker, REPLAY, "POST", **headers)).status


async def test_only_the_operators_token_may_write(worker: InProcessWorker) -> None:
    assert await status(worker, Authorization="Bearer operate") == 400
    assert await status(worker, Authorization="Bearer read") == 403
    assert await status(worker, Authorization="Bearer wrong") == 401
    assert await status(worker) == 401
    assert (await send(worker, REPLAY, Authorization="Bearer read")).status == 200
    # A page of another site cannot send the header.
    assert await status(worker, Authorization="Bearer operate", Origin="https://evil.example") == 400


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Sec_Fetch_Site": "same-origin"}, 400),
        ({"Sec_Fetch_Site": "same-origin", "Origin": "https://proxied.example"}, 400),
        ({}, 403),
        ({"Sec_Fetch_Site": "none"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        # Over plain HTTP, browsers send only Origin.
        ({"Origin": "http://{host}"}, 400),
        ({"Origin": "HTTP://{host}"}, 400),
        ({"Origin": "https://{host}"}, 400),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://{host}.evil.example"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "ftp://{host}"}, 403),
        ({"Origin": "http://[::1"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Origin": "http://{host}"}, 403),
    ],
)
async def test_a_session_may_write_from_a_page_of_this_server(
    worker: InProcessWorker, headers: dict[str, str], expected: int
) -> None:
    cookie = await cookie_of(worker, "operate")
    host = worker.url.removeprefix("http://")
    named = {name: value.format(host=host) for name, value in headers.items()}
    assert await status(worker, Cookie=cookie, **named) == expected
    reader = await cookie_of(worker, "read")
    assert await status(worker, Cookie=reader, **named) == 403


@pytest.mark.parametrize("worker", ["web: {token: read}"], indirect=True)
async def test_without_an_operators_token_nobody_may_write(worker: InProcessWorker) -> None:
    found = await send(worker, REPLAY, "POST", Authorization="Bearer read")
    assert (found.status, "web.operator_token" in await found.text()) == (403, True)


@pytest.mark.parametrize("worker", ["web: {operator_token: operate}"], indirect=True)
async def test_the_operators_token_alone_is_required_for_reading_too(worker: InProcessWorker) -> None:
    assert (await send(worker, REPLAY)).status == 401
    assert (await send(worker, REPLAY, Authorization="Bearer operate")).status == 200
    assert await status(worker, Authorization="Bearer operate") == 400


@pytest.mark.parametrize("worker", [""], indirect=True)
async def test_without_tokens_programs_on_this_machine_may_write_and_pages_of_other_sites_may_not(
    worker: InProcessWorker,
) -> None:
    assert await status(worker) == 400
    assert await status(worker, Sec_Fetch_Site="same-origin", Origin=worker.url) == 400
    assert await status(worker, Origin=worker.url) == 400
    assert await status(worker, Origin="https://evil.example") == 403
    assert await status(worker, Origin="null") == 403
    assert await status(worker, Sec_Fetch_Site="cross-site") == 403
    assert await status(worker, Sec_Fetch_Site="same-site", Origin="http://localhost:1") == 403
    # After DNS rebinding.
    assert await status(worker, Host="evil.example", Origin="http://evil.example") == 403


async def test_what_writes_is_protected_without_being_told_so() -> None:
    """The middleware checks every method but those for reading, whatever the route."""

    async def changed(_request: web.Request) -> web.Response:
        return web.Response(text="changed")

    application = web.Application(middlewares=middlewares(Settings()))
    application.router.add_route("*", "/thing", changed)
    async with TestClient(TestServer(application)) as client:
        for method in ("PUT", "PATCH", "DELETE", "POST"):
            assert (await client.request(method, "/thing")).status == 200
            refused = await client.request(method, "/thing", headers={"Origin": "https://evil.example"})
            assert refused.status == 403


async def test_requests_between_workers_need_their_own_secret(worker: InProcessWorker) -> None:
    bodies = {
        INTERNAL_PATH: msgspec.json.encode(WindowQuery(PLUGIN, 0, 60_000_000)),
        PIPELINE_PATH: b"{}",
        LINES_PATH: msgspec.json.encode(LinesQuery(View(PLUGIN, 900, None), 0, 60_000_000, "", 0, True)),
        REPLAY_PATH: b"{}",
    }
    operator = await cookie_of(worker, "operate")
    for path, body in bodies.items():
        signed = worker.url, path, body
        secret = WorkersSecret(Cipher(SHARED_KEY)).headers(*signed)
        for headers in (
            {},
            {"Authorization": "Bearer operate"},
            {"Authorization": "Bearer read"},
            {"Cookie": operator, "Sec_Fetch_Site": "same-origin"},
            {"Authorization": "Bearer "},
            {"Authorization": "Bearer \udcff"},
            WorkersSecret(Cipher(b"k" * 32)).headers(*signed),
        ):
            found = await send(worker, path, "POST", body, **headers)
            assert (found.status, found.headers["WWW-Authenticate"]) == (401, SCHEME), (path, headers)
        assert (await send(worker, path, "POST", body, **secret)).status == 200, path
        assert (await send(worker, path, **secret)).status == 401
    # It opens nothing else.
    assert (await send(worker, "/api/v1/plugins", **secret)).status == 401


@pytest.mark.parametrize("worker", [""], indirect=True)
async def test_also_without_tokens(worker: InProcessWorker) -> None:
    assert (await send(worker, PIPELINE_PATH, "POST", "{}")).status == 401
    assert (await send(worker, PIPELINE_PATH)).status == 405


@pytest.mark.parametrize("worker", [BOTH, ""], indirect=True)
async def test_no_other_origin_is_permitted_to_read(worker: InProcessWorker) -> None:
    """CORS is closed: no response has a header that lets a page of another site read it, and preflights are refused."""
    asked = {
        "Origin": "https://evil.example",
        "Access_Control_Request_Method": "POST",
        "Access_Control_Request_Headers": "authorization",
    }
    for path in (REPLAY, "/api/v1/plugins", "/login", "/health/ready", "/docs", PIPELINE_PATH, "/nothing"):
        for method in ("OPTIONS", "GET", "POST"):
            for authorization in ({}, {"Authorization": "Bearer operate"}):
                found = await send(worker, path, method, **asked, **authorization)
                assert not [name for name in found.headers if name.lower().startswith("access-control")], path
                assert found.headers["X-Content-Type-Options"] == "nosniff", path
                assert found.headers["Cross-Origin-Resource-Policy"] == "same-origin", path
                if method == "OPTIONS":
                    assert found.status >= 400, path
