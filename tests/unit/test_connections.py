"""Clients that send half a request, or read half a response, do not keep others from being served."""

import asyncio
import logging
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import hdrs, web

from sparkle_app.web import connections
from sparkle_app.web.authentication import ACCESS, Access, Proof
from sparkle_app.web.connections import LimitedRunner
from sparkle_app.web.sessions import Role
from sparkle_app.worker.shutdown import SHUTDOWN_SECONDS

HALF = b"GET /quick HTTP/1.1\r\nHost: loc"
WHOLE = b"GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = 32 * 1024 * 1024
Connect = Callable[[bytes], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@asynccontextmanager
async def server(may_end: asyncio.Event | None = None) -> AsyncIterator[Connect]:
    """Yields what opens a connection and sends these bytes."""

    async def quick(_request: web.Request) -> web.Response:
        return web.Response(text="served")

    async def slow(_request: web.Request) -> web.Response:
        assert may_end
        try:
            await may_end.wait()
        except asyncio.CancelledError:
            may_end.set()
            raise
        return web.Response(text="served late")

    async def large(request: web.Request) -> web.Response:
        if hdrs.AUTHORIZATION in request.headers:
            request[ACCESS] = Access(Role.READ, Proof.BEARER)
        return web.Response(body=b"x" * LARGE)

    async def body(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    application = web.Application()
    application.router.add_get("/quick", quick)
    application.router.add_route("*", "/slow", slow)
    application.router.add_get("/large", large)
    application.router.add_post("/body", body)
    runner = LimitedRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    writers = []

    async def connect(sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writers.append(writer)
        writer.write(sent)
        await writer.drain()
        return reader, writer

    try:
        async with asyncio.timeout(30):
            yield connect
            # Whatever clients do, the server stops before the shutdown timeout of the worker.
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                await runner.cleanup()
    finally:
        for writer in writers:
            writer.close()
        await runner.cleanup()


async def served(reader: asyncio.StreamReader, text: bytes = b"served") -> bool:
    """Whether a whole response has arrived."""
    head = await reader.readuntil(b"\r\n\r\n")
    return head.startswith(b"HTTP/1.1 200 ") and await reader.readexactly(len(text)) == text


async def closed(reader: asyncio.StreamReader) -> bool:
    """Waits until the server has closed the connection; whether it sent nothing."""
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("path", ["/body", "/quick"], ids=["read", "not read"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_the_body_of_a_request_is_not_decompressed(
    caplog: pytest.LogCaptureFixture, path: str, encoding: str
) -> None:
    """Nobody compresses it, and what is not compressed would be an unexpected error, without a token."""
    method, text = ("POST", b"abc") if path == "/body" else ("GET", b"served")
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: {encoding}\r\nContent-Length: 3\r\n\r\n"
    async with server() as connect:
        reader, writer = await connect(f"{head}abc".encode())
        assert await served(reader, text)
        # The connection remains usable.
        writer.write(WHOLE)
        assert await served(reader)
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


@pytest.mark.parametrize("sent", [b"", b"GET", HALF], ids=["nothing", "half a line", "half of the headers"])
async def test_a_half_sent_request_is_closed_in_time(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 1.0)
    async with server() as connect:
        first, _ = await connect(sent)
        assert await closed(first)
        # Also the second request of a connection.
        second, writer = await connect(WHOLE)
        assert await served(second)
        writer.write(sent)
        assert await closed(second)


async def test_bytes_that_trickle_in_do_not_keep_a_half_sent_request_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.3)
    async with server() as connect:
        reader, writer = await connect(HALF)
        waiting = asyncio.create_task(closed(reader))
        while not waiting.done():
            writer.write(b"x")
            await asyncio.sleep(0.05)
        assert await waiting


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx",
    ],
    ids=["a response that is not read", "half of a body"],
)
async def test_a_request_that_its_client_does_not_finish_is_closed_in_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "RESPONSE_SECONDS", 0.3)
    async with server() as connect:
        reader, _ = await connect(sent)
        await asyncio.sleep(0.6)
        received = 0
        try:
            while some := await reader.read(1 << 20):
                received += len(some)
        except ConnectionError:
            pass
        assert received < LARGE
        reader, _ = await connect(WHOLE)
        assert await served(reader)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_beyond_the_limit_those_that_have_been_idle_for_the_longest_time_are_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 5)
    may_end = asyncio.Event()
    async with server(may_end) as connect:
        working, _ = await connect(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        half = [(await connect(HALF))[0] for _ in range(4)]
        for number in range(20):
            # Each is served, and is the most recent one afterwards.
            reader, _ = await connect(WHOLE)
            assert await served(reader)
            if number < 4:
                assert await closed(half[number])
        may_end.set()
        # The one with a request in progress was not closed.
        assert await served(working, b"served late")
    lines = [record.getMessage() for record in caplog.records if record.name == connections.__name__]
    (line,) = lines
    assert "more than 5 connections" in line
    assert "127.0.0.1" in line


async def test_while_all_are_busy_a_new_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    may_end = asyncio.Event()
    async with server(may_end) as connect:
        busy = [(await connect(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"))[0] for _ in range(3)]
        await asyncio.sleep(0.1)
        late, _ = await connect(b"")
        assert await closed(late)
        may_end.set()
        for reader in busy:
            assert await served(reader, b"served late")
        reader, _ = await connect(WHOLE)
        assert await served(reader)


async def test_those_who_send_half_of_a_body_do_not_keep_others_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    may_end = asyncio.Event()
    head = b"Host: x\r\nContent-Length: 3\r\n\r\n"
    async with server(may_end) as connect:
        half = [(await connect(b"POST /body HTTP/1.1\r\n" + head + b"x"))[0] for _ in range(2)]
        # The rest of this body arrives, so it is in progress.
        working, writer = await connect(b"POST /slow HTTP/1.1\r\n" + head)
        writer.write(b"abc")
        await asyncio.sleep(0.1)
        for reader in half:
            later, _ = await connect(WHOLE)
            assert await served(later)
            assert await closed(reader)
        for _ in range(5):
            later, _ = await connect(WHOLE)
            assert await served(later)
        may_end.set()
        assert await served(working, b"served late")
        # The body of an earlier request does not arrive, and this connection is idle meanwhile.
        late, writer = await connect(b"POST /quick HTTP/1.1\r\n" + head)
        assert (await late.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 405 ")
        writer.write(b"abc")
        for _ in range(5):
            later, _ = await connect(WHOLE)
            assert await served(later)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("late_body", [b"", b"abc"])
async def test_those_who_do_not_read_a_response_do_not_keep_others_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, late_body: bytes
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    length = f"Content-Length: {len(late_body)}\r\n" if late_body else ""
    request = f"GET /large HTTP/1.1\r\nHost: x\r\n{length}"
    async with server() as connect:
        authorized, _ = await connect(f"{request}Authorization: Bearer x\r\n\r\n".encode() + late_body)
        stalled = [await connect(f"{request}\r\n".encode()) for _ in range(2)]
        for reader, writer in stalled:
            assert await reader.readexactly(5) == b"HTTP/"
            writer.write(late_body)
        for _ in range(5):
            later, _ = await connect(WHOLE)
            assert await served(later)
        for reader, _ in stalled:
            with suppress(ConnectionError):
                assert len(await reader.read()) < LARGE
        assert await served(authorized, b"x" * LARGE)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_an_expectation_that_nobody_meets_is_a_problem_document() -> None:
    async with server() as connect:
        reader, _ = await connect(b"GET /quick HTTP/1.1\r\nHost: x\r\nExpect: more\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 417 ")
        assert b"\r\nContent-Type: application/problem+json\r\n" in head
        # Without the versions of aiohttp and Python.
        assert b"\r\nServer: Sparkle-M\r\n" in head


async def test_a_client_that_leaves_is_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    may_end = asyncio.Event()
    async with server(may_end) as connect:
        for request in (b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"):
            _, writer = await connect(request)
            await asyncio.sleep(0.1)
            writer.transport.abort()
        may_end.set()
        reader, _ = await connect(WHOLE)
        assert await served(reader)
        await asyncio.sleep(0.1)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("soft", "limit"), [(1024, 500), (256, 128), (1_000_000, 500), (resource.RLIM_INFINITY, 500)]
)
def test_half_of_the_open_files_are_left_to_kafka_and_the_database(
    monkeypatch: pytest.MonkeyPatch, soft: int, limit: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, resource.RLIM_INFINITY))
    assert connections.max_connections() == limit


async def test_a_request_whose_client_has_left_is_cancelled() -> None:
    cancelled = asyncio.Event()
    async with server(cancelled) as connect:
        _, writer = await connect(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.1)
        writer.close()
        await cancelled.wait()
        reader, _ = await connect(WHOLE)
        assert await served(reader)


async def test_a_stalled_response_does_not_keep_the_worker_from_stopping() -> None:
    async with server() as connect:
        reader, _ = await connect(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await reader.readexactly(5) == b"HTTP/"
