"""How the page is served."""

import gzip
import re
from collections.abc import AsyncIterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from sparkle_app.runtime.version import __version__
from sparkle_app.storage.late import LATE_SECONDS
from sparkle_app.web.dashboard import chart_library, page
from sparkle_app.web.dashboard.assets import load_assets
from sparkle_app.web.dashboard.page import VIEWS, add_page
from sparkle_app.web.problems import problems

STATIC = Path(page.__file__).with_name("static")
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    application = web.Application(middlewares=[problems])
    add_page(application.router, trust_proxy=True)
    async with (
        TestServer(application) as server,
        ClientSession(server.make_url("/"), auto_decompress=False) as session,
    ):
        yield session


@pytest.mark.parametrize("path", VIEWS)
async def test_a_browser_gets_the_page_at_each_view_with_strict_headers(
    client: ClientSession, path: str
) -> None:
    async with client.get(path, headers=BROWSER) as response:
        assert (response.status, response.content_type) == (200, "text/html")
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "same-origin"
        policy = response.headers["Content-Security-Policy"].split("; ")
        assert policy[0] == "default-src 'none'"
        assert {
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
            "frame-ancestors 'none'",
        } <= set(policy)
        assert not any("unsafe" in each or "http" in each for each in policy)
        assert "<script type=" in gzip.decompress(await response.read()).decode()


async def test_all_files_that_the_index_names_are_immutable_and_compressed(client: ClientSession) -> None:
    async with client.get("/", headers=BROWSER) as response:
        index = gzip.decompress(await response.read()).decode()
    paths = re.findall(r'(?:src|href)="(/assets/[^"]+)"', index)
    assert len(paths) == 8
    for path in paths:
        bodies = []
        for encoding in ("gzip, br", "identity", "gzip;q=0"):
            async with client.get(path, headers={"Accept-Encoding": encoding}) as response:
                assert response.status == 200, path
                assert "immutable" in response.headers["Cache-Control"]
                assert response.headers["Vary"] == "Accept-Encoding"
                body = await response.read()
                compressed = response.headers.get("Content-Encoding") == "gzip"
                assert compressed == (encoding == "gzip, br")
                bodies.append(gzip.decompress(body) if compressed else body)
        assert bodies[0] == bodies[1] == bodies[2]


async def test_a_file_of_another_version_and_a_path_outside_are_not_found(client: ClientSession) -> None:
    assets = load_assets("/assets/")
    for path in (
        "/assets/0123456789abcdef/app.js",
        f"/assets/{assets.hash}/index.html",
        f"/assets/{assets.hash}/%2E%2E/page.py",
        f"/assets/{assets.hash}/nothing.js",
    ):
        async with client.get(path) as response:
            assert response.status == 404, path
            assert response.content_type == "application/problem+json"


async def test_a_terminal_gets_two_lines(client: ClientSession) -> None:
    async with client.get("/", headers={"Accept": "*/*"}) as response:
        assert response.content_type == "text/plain"
        lines = (await response.text()).splitlines()
    assert len(lines) == 2
    assert "in a browser" in lines[0]
    # Whoever asks without a token is not told the version.
    assert __version__ not in "".join(lines)
    assert re.search(r"http://127\.0\.0\.1:\d+/api/v1/openapi\.json$", lines[1])


async def test_a_terminal_behind_a_proxy_that_ends_tls_gets_addresses_with_https(
    client: ClientSession,
) -> None:
    headers = {"Accept": "*/*", "X-Forwarded-Proto": "https", "Host": "sparkle.example"}
    async with client.get("/", headers=headers) as response:
        text = await response.text()
    assert "https://sparkle.example/ in a browser" in text
    assert "https://sparkle.example/api/v1/openapi.json" in text


def test_the_hash_of_the_files_changes_with_any_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_assets("/assets/")
    assert load_assets("/assets/") == before
    assert b"uPlot" in before.files["uplot.js"].body
    assert before.hash.encode() in before.index.body

    def missing(_name: str) -> None:
        raise PackageNotFoundError

    monkeypatch.setattr(chart_library, "distribution", missing)
    after = load_assets("/assets/")
    assert after.files["uplot.js"].body == b"export default null;\n"
    assert after.hash != before.hash


def test_a_chart_library_with_other_contents_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(chart_library._SHA256, "uplot.min.css", "0" * 64)
    assert chart_library.chart_files()["uplot.css"] == b""
    assert "expected uPlot 1.6.31 in the package youplot, found other contents" in caplog.text


def test_a_mark_of_a_reading_and_one_of_a_step_mean_the_same_delay() -> None:
    (seconds,) = re.findall(r"const LATE_SECONDS = (\d+);", STATIC.joinpath("chart_layers.js").read_text())
    assert int(seconds) == LATE_SECONDS
