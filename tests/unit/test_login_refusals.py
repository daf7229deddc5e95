"""What the login page refuses: wrong tokens, too many attempts, and forms that are not its own."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from sparkle_app.web.html import login
from sparkle_app.web.html.login import MAX_FORM_BYTES, MAX_FORMS
from sparkle_app.web.html.messages import LANGUAGES
from sparkle_app.web.login_limit import ATTEMPTS
from sparkle_app.web.reverse_proxy import client_address
from tests.support.cluster import InProcessWorker
from tests.support.login import PLUGINS, TOKENS, Form, cookie_of, log_in, send, two_workers


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[InProcessWorker]:
    async with two_workers(tmp_path) as (worker, _):
        yield worker


@pytest.mark.parametrize(
    "token", ["", " ", "wrong", "operat", "operate operate", "read", "\udcff", "read ключ\0"]
)
async def test_a_wrong_token_is_refused(worker: InProcessWorker, token: str) -> None:
    body = f"token={quote(token, errors='surrogateescape')}&next=%2Fx"
    found = await send(worker, "/login", "POST", body, Content_Type="application/x-www-form-urlencoded")
    form = Form(await found.text())
    assert (found.status, found.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "Set-Cookie" not in found.headers
    assert form.fields == {"username": "sparkle", "token": None, "next": "/x"}
    assert LANGUAGES["en"]["wrong"] in form.texts


async def test_the_log_counts_failures_and_contains_no_token(
    worker: InProcessWorker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            await log_in(worker, "almost-read-ключ")
        await log_in(worker, "operate")
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert warnings == ["login failed: wrong token from '127.0.0.1' (1 failure since this was last logged)"]
    assert "almost" not in caplog.text
    assert "operate" not in caplog.text


async def test_attempts_are_limited_but_not_those_who_are_logged_in(
    worker: InProcessWorker, tmp_path: Path
) -> None:
    cookie = await cookie_of(worker, "read ключ")
    for _ in range(ATTEMPTS):
        assert (await log_in(worker, "wrong")).status == 401
    # Whether the token is right is not told any more.
    for token in ("wrong", "read ключ"):
        found = await log_in(worker, token, "/x")
        assert (found.status, 1 <= int(found.headers["Retry-After"]) <= 30) == (429, True)
        assert "Set-Cookie" not in found.headers
        assert Form(await found.text()).fields["next"] == "/x"
    assert (await send(worker, PLUGINS, Cookie=cookie)).status == 200
    assert (await send(worker, PLUGINS, Authorization="Bearer operate")).status == 200
    # An address that a client has invented does not help.
    assert (await log_in(worker, "wrong", X_Forwarded_For="192.0.2.77")).status == 429


async def test_behind_a_proxy_the_address_and_the_scheme_are_those_of_the_client(tmp_path: Path) -> None:
    worker = InProcessWorker(tmp_path / "proxied", f"web: {{{TOKENS}, trust_proxy: true}}")
    await worker.start()
    for number in range(ATTEMPTS + 1):
        found = await log_in(worker, "wrong", X_Forwarded_For=f"10.9.8.{number}, 192.0.2.1")
    assert found.status == 429
    done = await log_in(worker, "operate", X_Forwarded_For="192.0.2.2", X_Forwarded_Proto="https")
    assert "Secure" in done.headers["Set-Cookie"]
    plain = await log_in(worker, "operate", X_Forwarded_For="192.0.2.2", X_Forwarded_Proto="http")
    assert "Secure" not in plain.headers["Set-Cookie"]
    await worker.stop()


async def test_a_program_with_a_wrong_bearer_token_keeps_nobody_out(worker: InProcessWorker) -> None:
    for _ in range(ATTEMPTS):
        assert (await send(worker, PLUGINS, Authorization="Bearer wrong")).status == 401
    found = await send(worker, PLUGINS, Authorization="Bearer wrong")
    assert (found.status, found.content_type) == (429, "application/problem+json")
    assert 0 < int(found.headers["Retry-After"]) <= 30
    assert (await log_in(worker, "wrong")).status == 401
    assert (await log_in(worker, "operate")).status == 303
    assert (await send(worker, PLUGINS, Authorization="Bearer operate")).status == 200


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.9, 192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:49152", "192.0.2.1"),
        ("[2001:db8::1]:49152", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("unknown", "unknown"),
    ],
)
def test_the_address_that_a_proxy_reports_has_no_port(forwarded: str, address: str) -> None:
    request = make_mocked_request("GET", "/", {"X-Forwarded-For": forwarded})
    assert client_address(request, trust_proxy=True) == address
    assert client_address(request, trust_proxy=False) == ""


async def test_without_a_proxy_its_headers_are_ignored(worker: InProcessWorker) -> None:
    assert "Secure" not in (await log_in(worker, "operate", X_Forwarded_Proto="https")).headers["Set-Cookie"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
async def test_a_form_of_another_site_is_refused(worker: InProcessWorker, headers: dict[str, str]) -> None:
    found = await log_in(worker, "operate", **headers)
    assert (found.status, "Set-Cookie" in found.headers) == (403, False)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"token=operate", "text/plain", 415),
        (b"token=\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join([b"a=1"] * 11), "application/x-www-form-urlencoded", 400),
        (b"token=" + b"x" * MAX_FORM_BYTES, "application/x-www-form-urlencoded", 413),
    ],
)
async def test_what_is_no_form_of_the_page_is_refused(
    worker: InProcessWorker, body: bytes, kind: str, status: int
) -> None:
    found = await send(worker, "/login", "POST", body, Content_Type=kind)
    assert (found.status, found.content_type) == (status, "application/problem+json")
    assert "operate" not in await found.text()


async def start_form(worker: InProcessWorker) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection with a form of which the last byte is missing; it has been told to go on."""
    url = URL(worker.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Expect: 100-continue\r\nContent-Length: 13\r\n\r\ntoken=operat"
    )
    assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_a_form_that_does_not_come_in_time_is_refused(
    worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "FORM_SECONDS", 0.1)
    reader, writer = await start_form(worker)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.split()[1] == b"408"
    assert b"Set-Cookie" not in head
    writer.close()
    # Its place is free again.
    monkeypatch.undo()
    assert (await log_in(worker, "operate")).status == 303


async def test_who_sends_half_of_many_forms_keeps_nobody_from_logging_in(worker: InProcessWorker) -> None:
    started = [await start_form(worker) for _ in range(MAX_FORMS + 2)]
    assert (await log_in(worker, "operate")).status == 303
    for number, (reader, writer) in enumerate(started):
        # No more than are needed, and those that have been read for the longest time.
        expected = b"408" if number < 3 else b"303"
        writer.write(b"e")
        head = await reader.readuntil(b"\r\n\r\n")
        assert (number, head.split()[1]) == (number, expected)
        writer.close()
    assert (await log_in(worker, "operate")).status == 303
