"""The response to every error is a problem document (RFC 9457)."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sparkle_app.web.problems import Problem, malformed_request, problems, unavailable

Client = TestClient[web.Request, web.Application]


async def raising(request: web.Request) -> web.StreamResponse:
    match request.match_info["what"]:
        case "problem":
            raise Problem(404, "no such host", {"X-More": "1"})
        case "unavailable":
            raise unavailable("partitions are moving")
        case "defect":
            raise ValueError("the token is s3cret")
        case "redirect":
            raise web.HTTPFound("/elsewhere")
        case "gone":
            raise web.HTTPGone
        case "cached":
            return web.Response(headers={"Cache-Control": "max-age=60"})
        case _:
            return web.Response(text="fine")


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setattr(web.RequestHandler, "handle_error", malformed_request)
    application = web.Application(middlewares=[problems])
    application.router.add_get("/{what}", raising)
    async with TestClient(TestServer(application)) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "status", "title"),
    [
        ("/problem", 404, "Not Found"),
        ("/unavailable", 503, "Service Unavailable"),
        ("/defect", 500, "Internal Server Error"),
        ("/gone", 410, "Gone"),
        ("/not/here", 404, "Not Found"),
    ],
)
async def test_an_error_is_a_problem_document(client: Client, path: str, status: int, title: str) -> None:
    async with client.get(path) as response:
        assert response.status == status
        assert response.content_type == "application/problem+json"
        assert response.headers["Cache-Control"] == "no-store"
        document = await response.json(content_type=None)
    assert document.keys() == {"type", "title", "status", "detail"}
    assert (document["type"], document["title"], document["status"]) == ("about:blank", title, status)
    assert document["detail"]


async def test_a_problem_has_its_own_headers(client: Client) -> None:
    async with client.get("/problem") as response:
        assert response.headers["X-More"] == "1"
        assert (await response.json(content_type=None))["detail"] == "no such host"
    async with client.get("/unavailable") as response:
        assert int(response.headers["Retry-After"]) > 0


async def test_the_response_to_a_wrong_method_lists_the_allowed_ones(client: Client) -> None:
    async with client.post("/fine") as response:
        assert response.status == 405
        assert set(response.headers["Allow"].split(",")) == {"GET", "HEAD"}
        assert response.content_type == "application/problem+json"


async def test_an_unexpected_error_is_logged_and_not_part_of_the_response(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "sparkle_app.web.problems"):
        async with client.get("/defect") as response:
            assert response.status == 500
            assert "s3cret" not in await response.text()
    (record,) = caplog.records
    assert "/defect" in record.getMessage()
    assert record.exc_info
    assert isinstance(record.exc_info[1], ValueError)


@pytest.mark.parametrize("path", ["/problem", "/unavailable", "/gone", "/not/here"])
async def test_an_error_of_the_client_is_not_logged_as_an_error(
    client: Client, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    async with client.get(path) as response:
        assert response.status >= 400
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_other_responses_are_unchanged(client: Client) -> None:
    async with client.get("/redirect", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "/elsewhere")
    async with client.get("/fine") as response:
        assert (response.status, await response.text()) == (200, "fine")
        # Averages must not be cached.
        assert response.headers["Cache-Control"] == "no-store"
    async with client.get("/cached") as response:
        assert response.headers["Cache-Control"] == "max-age=60"


@pytest.mark.parametrize("path", ["/fine", "/problem", "/gone", "/defect", "/redirect", "/not/here"])
async def test_the_server_does_not_tell_versions(client: Client, path: str) -> None:
    async with client.get(path, allow_redirects=False) as response:
        assert response.headers["Server"] == "Sparkle-M"


REQUEST_LINE = (
    "expected a request line such as GET /api/v1/plugins HTTP/1.1; in a URL, spaces and characters outside ASCII must"
    " be percent-encoded, for example ° as %C2%B0"
)
TOO_LONG = "header: expected lines of at most 8190 bytes, found a longer one"


@pytest.mark.parametrize(
    ("request_", "detail"),
    [
        (b"nonsense\r\n\r\n", REQUEST_LINE),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "Received HTTPS traffic on an HTTP port"),
        (b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", REQUEST_LINE),
        ("GET /°C HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), REQUEST_LINE),
        (b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", REQUEST_LINE),
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n",
            "Invalid character in Content-Length",
        ),
        (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", "Invalid header token"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"many" * 2500 + b"\r\n\r\n", TOO_LONG),
        (b"GET /" + b"many" * 2500 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", TOO_LONG),
    ],
    ids=[
        "nonsense",
        "TLS",
        "space in the URL",
        "not ASCII",
        "no path",
        "invalid length",
        "space before the colon",
        "long header",
        "long URL",
    ],
)
async def test_a_malformed_request_gets_a_problem_document_and_the_connection_is_closed(
    client: Client, caplog: pytest.LogCaptureFixture, request_: bytes, detail: str
) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(request_)
    async with asyncio.timeout(5):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status = int(head.split()[1])
    assert 400 <= status < 500
    assert b"application/problem+json" in head
    assert b"\r\nServer: Sparkle-M\r\n" in head
    document = json.loads(body)
    assert document["status"] == status
    # One line, without text of the request.
    assert document["detail"] == detail
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_an_unexpected_error_outside_of_the_middleware_is_handled_by_aiohttp(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(web.RequestHandler, "handle_error", malformed_request)

    async def defect(_request: web.Request) -> web.Response:
        raise ValueError("not to be shown")

    application = web.Application()
    application.router.add_get("/", defect)
    async with TestClient(TestServer(application)) as client, client.get("/") as response:
        assert (response.status, response.headers["Server"]) == (500, "Sparkle-M")
        assert "not to be shown" not in await response.text()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR]
