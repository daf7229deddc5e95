"""The partition router: queries to other workers, and their failures."""

import asyncio
import gzip
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.test_utils import TestServer, make_mocked_request

from sparkle_app.sealed.cipher import Cipher
from sparkle_app.web import partition_router
from sparkle_app.web.partition_router import (
    INTERNAL_PATH,
    SCHEME,
    PartialResult,
    PartitionRouter,
    WindowQuery,
    WorkersSecret,
)
from sparkle_app.web.problems import Problem
from tests.support.cluster import PLUGIN, SHARED_KEY, InProcessWorker, assign

QUERY = WindowQuery(PLUGIN, 0, 60_000_000, host="a")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[InProcessWorker]:
    worker = InProcessWorker(tmp_path / "worker", "web: {token: secret}")
    await worker.start()
    assign([worker], {0, 1, 2, 3})
    yield worker
    await worker.stop()


@pytest.fixture
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_router, "TIMEOUT_SECONDS", 0.2)


async def query(worker: InProcessWorker, respond: Handler) -> PartialResult:
    """The result of a query to another worker with this response."""
    other = web.Application()
    other.router.add_post(INTERNAL_PATH, respond)
    async with TestServer(other) as running:
        return await PartitionRouter(worker.parts).query(str(running.make_url("")), QUERY)


async def failed_query(worker: InProcessWorker, respond: Handler) -> Problem:
    with pytest.raises(Problem) as caught:
        await query(worker, respond)
    assert "secret" not in caught.value.detail
    return caught.value


async def test_the_query_is_sent_with_all_fields_and_the_secret_of_the_workers(
    worker: InProcessWorker,
) -> None:
    partial = PartialResult([1, 3], 2, True, {})

    async def respond(request: web.Request) -> web.Response:
        body = await WorkersSecret(Cipher(SHARED_KEY)).body(request, str(request.url.origin()))
        assert Cipher(SHARED_KEY).secret(b"requests between workers").hex() not in str(request.headers)
        assert "secret" not in str(request.headers)
        assert SHARED_KEY.hex() not in str(request.headers)
        assert msgspec.json.decode(body, type=WindowQuery) == QUERY
        return web.Response(body=msgspec.json.encode(partial))

    assert await query(worker, respond) == partial


@pytest.mark.parametrize(
    "body",
    [b'{"partitions": "all"}', b"<!doctype html>", b'{"metrics":{"\xff":1}}', b'{"later":' * 100_000],
    ids=["other type", "HTML", "not UTF-8", "nested too deeply"],
)
async def test_a_worker_of_another_version_is_503(worker: InProcessWorker, body: bytes) -> None:
    async def respond(_request: web.Request) -> web.Response:
        return web.Response(body=body)

    problem = await failed_query(worker, respond)
    assert problem.status == 503
    assert "runs another version; upgrade all workers" in problem.detail


async def test_other_credentials_are_refused() -> None:
    signed = hmac.digest(b"\0", f"http://a\0{INTERNAL_PATH}\0".encode(), "sha256").hex()
    for headers in (
        {},
        {"Authorization": ""},
        {"Authorization": SCHEME},
        {"Authorization": f"{SCHEME} {signed}"},
    ):
        request = make_mocked_request("POST", INTERNAL_PATH, headers, payload=EMPTY_PAYLOAD)
        with pytest.raises(Problem) as caught:
            await WorkersSecret(Cipher(SHARED_KEY)).body(request, "http://a")
        assert caught.value.status == 401


async def test_a_request_to_one_worker_is_none_to_another(worker: InProcessWorker) -> None:
    secret, body = WorkersSecret(Cipher(SHARED_KEY)), msgspec.json.encode(QUERY)
    for url, path, sent, status in (
        (worker.url, INTERNAL_PATH, body, 200),
        ("http://attacker.example", INTERNAL_PATH, body, 401),
        (worker.url, "/internal/v1/pipeline", body, 401),
        (worker.url, INTERNAL_PATH, body + b" ", 401),
    ):
        headers = secret.headers(url, path, sent)
        async with worker.http.post(f"{worker.url}{INTERNAL_PATH}", data=body, headers=headers) as response:
            assert response.status == status, (url, path, sent)


@pytest.mark.usefixtures("short_timeout")
async def test_the_body_of_a_worker_is_not_waited_for_without_limit(worker: InProcessWorker) -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(3600)

    headers = {"Authorization": f"{SCHEME} 00"}
    async with worker.http.post(f"{worker.url}{INTERNAL_PATH}", data=never(), headers=headers) as response:
        assert response.status == 408


async def test_the_secret_is_sent_to_no_other_address(worker: InProcessWorker) -> None:
    async def respond(_request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": f"{worker.url}{INTERNAL_PATH}"})

    assert (await failed_query(worker, respond)).status == 502


async def test_the_response_of_an_earlier_version_is_read(worker: InProcessWorker) -> None:
    earlier = b'{"partitions": [1], "hosts": 1, "known": false, "metrics": {}, "lines": []}'

    async def respond(_request: web.Request) -> web.Response:
        return web.Response(body=earlier)

    assert (await query(worker, respond)) == PartialResult([1], 1, False, {})


@pytest.mark.usefixtures("short_timeout")
async def test_a_worker_that_hangs_is_503_after_the_timeout(worker: InProcessWorker) -> None:
    async def respond(_request: web.Request) -> web.Response:
        await asyncio.sleep(1.5)
        return web.Response()

    began = time.monotonic()
    problem = await failed_query(worker, respond)
    assert (problem.status, bool(problem.headers["Retry-After"])) == (503, True)
    assert time.monotonic() - began >= 0.2


@pytest.mark.usefixtures("short_timeout")
async def test_a_worker_that_hangs_during_its_response_is_503(worker: InProcessWorker) -> None:
    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"partitions":[0')
        await asyncio.sleep(1.5)
        return response

    assert (await failed_query(worker, respond)).status == 503


async def test_a_worker_that_closes_the_connection_is_503(worker: InProcessWorker) -> None:
    async def respond(request: web.Request) -> web.Response:
        assert request.transport
        request.transport.abort()
        return web.Response()

    assert (await failed_query(worker, respond)).status == 503


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
async def test_a_response_without_end_is_503(worker: InProcessWorker, encoding: str) -> None:
    sent = 0

    async def respond(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        assert request.headers["Accept-Encoding"] == "identity"
        response = web.StreamResponse(headers={"Content-Encoding": encoding} if encoding else {})
        await response.prepare(request)
        while sent < 10 * partition_router.MAX_RESPONSE_BYTES:
            await response.write(bytes(2**16))
            sent += 2**16
        return response

    problem = await failed_query(worker, respond)
    assert (problem.status, bool(problem.headers["Retry-After"])) == (503, True)
    assert "expected a response of at most 16 MiB" in problem.detail
    assert sent < 3 * partition_router.MAX_RESPONSE_BYTES


async def test_a_compressed_response_is_not_decompressed(worker: InProcessWorker) -> None:
    async def respond(_request: web.Request) -> web.Response:
        compressed = gzip.compress(msgspec.json.encode(PartialResult([1], 1, True, {})))
        return web.Response(body=compressed, headers={"Content-Encoding": "gzip"})

    assert "runs another version" in (await failed_query(worker, respond)).detail


async def test_an_unreachable_worker_is_503_and_named(worker: InProcessWorker) -> None:
    async with TestServer(web.Application()) as stopped:
        url = str(stopped.make_url(""))
    with pytest.raises(Problem) as caught:
        await PartitionRouter(worker.parts).query(url, QUERY)
    assert (caught.value.status, bool(caught.value.headers["Retry-After"])) == (503, True)
    assert url in caught.value.detail


@pytest.mark.parametrize(("status", "expected"), [(503, 503), (401, 503), (403, 503), (404, 502), (500, 502)])
async def test_an_error_of_another_worker_is_503_if_transient_and_502_otherwise(
    worker: InProcessWorker, status: int, expected: int
) -> None:
    async def respond(_request: web.Request) -> web.Response:
        return web.Response(status=status)

    problem = await failed_query(worker, respond)
    assert problem.status == expected
    # Only a transient error is worth a retry.
    assert ("Retry-After" in problem.headers) is (expected == 503)
    if expected == 502:
        assert str(status) in problem.detail
    if status in (401, 403):
        assert "upgrade all workers" in problem.detail
        assert "certs/internal_key" in problem.detail


async def test_the_own_address_is_recognized_in_equivalent_forms(worker: InProcessWorker) -> None:
    router = PartitionRouter(worker.parts)
    assert router.is_local(worker.url)
    assert router.is_local(f"{worker.url}/")
    assert router.is_local(worker.url.replace("http:", "HTTP:"))
    assert not router.is_local(worker.url.replace("127.0.0.1", "127.0.0.2"))
    assert not router.is_local(worker.url.replace("http:", "https:"))
    assert not router.is_local("http://127.0.0.1:1")


@pytest.mark.usefixtures("short_timeout")
async def test_one_worker_that_times_out_makes_the_response_503(worker: InProcessWorker) -> None:
    async def respond(_request: web.Request) -> web.Response:
        await asyncio.sleep(1.5)
        return web.Response()

    other = web.Application()
    other.router.add_post(INTERNAL_PATH, respond)
    async with TestServer(other) as running:
        worker.owned = {0, 1, 2}
        worker.group.urls = dict.fromkeys((0, 1, 2), worker.url) | {3: str(running.make_url(""))}
        status, problem = await worker.get(f"/api/v1/plugins/{PLUGIN}", Authorization="Bearer secret")
        assert (status, problem["status"]) == (503, 503)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"plugin":"Temperature"}', 400),
        (b'{"plugin":"Temperature","start":"a","end":1}', 400),
        (b"\xff", 400),
        (b'{"plugin":"\xff","start":0,"end":1}', 400),
        # Installed in another worker only: this one cannot say whether it owns the host.
        (b'{"plugin":"Humidity","start":0,"end":1}', 503),
        (b'{"plugin":"Temperature","start":0,"end":1}', 200),
    ],
)
async def test_a_query_from_another_worker_is_validated(
    worker: InProcessWorker, body: bytes, status: int
) -> None:
    headers = WorkersSecret(Cipher(SHARED_KEY)).headers(worker.url, INTERNAL_PATH, body)
    async with worker.http.post(f"{worker.url}{INTERNAL_PATH}", data=body, headers=headers) as response:
        assert response.status == status
