"""Responses that many clients get: encoded once, compressed once, and kept within a limit."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer, make_mocked_request

from sparkle_app.model.time import parse_instant
from sparkle_app.runtime.clock import WallClock
from sparkle_app.web import conditional, encoding
from sparkle_app.web.conditional import MIN_COMPRESSED, Tagged, age
from sparkle_app.web.slices import Slices
from sparkle_app.web.snapshots import query_cache
from sparkle_app.web.snapshots.query_cache import QueryCache
from tests.support.fake_clock import FakeClock


class Body(msgspec.Struct):
    """A response."""

    made_at: str
    hosts: list[str]


MADE_AT = "2026-11-24T12:00:00.250000Z"
LONG = Body(MADE_AT, [f"host-{number:05}" for number in range(2000)])
SHORT = Body(MADE_AT, ["host"])


class Calls:
    """Counts the calls of a function."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> None:
        self.number = 0
        function = getattr(module, name)

        def counted(*arguments: object) -> object:
            self.number += 1
            return function(*arguments)

        monkeypatch.setattr(module, name, counted)


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    slices, long, short = Slices(), Tagged(LONG), Tagged(SHORT)

    async def get(request: web.Request) -> web.Response:
        return await {"/long": long, "/short": short}[request.path].response(request, slices)

    application = web.Application()
    application.router.add_get("/{name}", get)
    async with (
        TestServer(application) as server,
        ClientSession(server.make_url("/"), auto_decompress=False) as session,
    ):
        yield session


async def get(client: ClientSession, path: str, **headers: str) -> tuple[int, bytes, str, str | None]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.get(path, headers=named) as response:
        assert response.headers["Vary"] == "Accept-Encoding"
        found = response.headers.get("Content-Encoding")
        return response.status, await response.read(), response.headers["ETag"], found


async def test_all_who_ask_at_one_time_share_one_encoding(
    client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = Calls(monkeypatch, conditional, "encode")
    compressed = Calls(monkeypatch, gzip, "compress")
    found = await asyncio.gather(*(get(client, "/long", Accept_Encoding="gzip") for _ in range(20)))
    assert (encoded.number, compressed.number) == (1, 1)
    assert len(set(found)) == 1
    status, body, _, how = found[0]
    assert (status, how, msgspec.json.decode(gzip.decompress(body), type=Body)) == (200, "gzip", LONG)


async def test_each_representation_has_its_own_tag(client: ClientSession) -> None:
    _, plain, tag, how = await get(client, "/long", Accept_Encoding="gzip;q=0")
    assert (msgspec.json.decode(plain, type=Body), how, len(plain) > MIN_COMPRESSED) == (LONG, None, True)
    _, body, other, _ = await get(client, "/long", Accept_Encoding="gzip")
    assert (gzip.decompress(body), other == tag) == (plain, False)
    for accepted, given, status in (
        ("gzip", other, 304),
        ("gzip", tag, 200),
        ("identity", tag, 304),
        ("identity", other, 200),
        ("identity", tag.removeprefix("W/"), 304),
        ("identity", f'"a,b", {other}, {tag}', 304),
        ("identity", "*", 304),
        ("gzip", "*", 304),
    ):
        found = await get(client, "/long", Accept_Encoding=accepted, If_None_Match=given)
        assert found[0] == status
        if status == 304:
            assert found[1:] == (b"", tag if accepted == "identity" else other, None)


async def test_an_equal_response_that_is_made_later_has_the_same_tag() -> None:
    slices, tags = Slices(), []
    for body in (LONG, msgspec.structs.replace(LONG, made_at="2026-11-24T12:00:05Z"), SHORT):
        request = make_mocked_request("GET", "/", {"Accept-Encoding": "identity"})
        response = await Tagged(body).response(request, slices)
        assert isinstance(response.body, bytes)
        assert msgspec.json.decode(response.body, type=Body) == body
        tags.append(response.etag)
    first, later, other = tags
    assert first == later != other
    assert first
    # Not the same bytes.
    assert first.is_weak


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.0, "0"), (1.2, "0"), (1.3, "1"), (61.0, "60"), (-5.0, "0")]
)
async def test_a_response_says_how_old_it_is(seconds: float, expected: str) -> None:
    start = parse_instant("2026-11-24T12:00:00Z") / 1_000_000
    assert age(MADE_AT, WallClock(FakeClock(start + seconds), FakeClock(0.0))) == {"Age": expected}


async def test_a_short_response_is_not_compressed(client: ClientSession) -> None:
    _, body, _, how = await get(client, "/short", Accept_Encoding="gzip")
    assert (how, msgspec.json.decode(body, type=Body)) == (None, SHORT)


async def test_who_leaves_does_not_end_the_encoding_of_the_others() -> None:
    slices, response = Slices(), Tagged(LONG)
    first, second = (asyncio.create_task(response.encoded(slices)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == await encoding.encode(LONG, slices)


async def test_responses_are_kept_up_to_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    slices = Slices()
    size = len(await encoding.encode(LONG, slices)) + query_cache._BYTES
    monkeypatch.setattr(query_cache, "MAX_BYTES", 3 * size)
    kept, computed = QueryCache(slices), 0

    async def compute() -> Tagged:
        nonlocal computed
        computed += 1
        return Tagged(LONG)

    for number in (1, 2):
        computed = 0
        for _ in range(2):
            for query in range(5):
                await kept.get(number, 0, query, compute)
        # Three are kept; the two others are computed each time.
        assert computed == 3 + 2 * 2


async def test_nothing_is_kept_when_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_cache, "IDLE_SECONDS", 0.0)
    kept = QueryCache(Slices())

    async def compute() -> Tagged:
        return Tagged(LONG)

    await kept.get(1, 0, "", compute)
    await kept.sorted(1, "host", ["b", "a"], None)
    while kept._number is not None:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert (kept._responses, kept._orders, kept._bytes) == ({}, {}, 0)
