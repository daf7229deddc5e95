"""The login page: forms, cookies and redirects, with real HTTP and two workers."""

import asyncio
import logging
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from sparkle_app.web import authentication, sessions
from sparkle_app.web.authentication import MAX_PATH, local_path
from sparkle_app.web.html import login
from sparkle_app.web.html.login import MAX_FORM_BYTES, MAX_FORMS
from sparkle_app.web.html.messages import LANGUAGES, language
from sparkle_app.web.login_limit import ATTEMPTS, client_address
from sparkle_app.web.security_headers import PLAIN_PAGE_HEADERS
from tests.support.cluster import InProcessWorker, assign
from tests.support.login import cookie_of, log_in, send

TOKENS = "token: 'read ключ', operator_token: 'operate'"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PLUGINS = "/api/v1/plugins"


@pytest.fixture
async def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[InProcessWorker]]:
    """Two workers with the same tokens."""
    monkeypatch.setattr(web.RequestHandler, "handle_error", web.RequestHandler.handle_error)
    workers = [InProcessWorker(tmp_path / name, f"web: {{{TOKENS}}}") for name in ("a", "b")]
    for worker in workers:
        await worker.start()
    assign(workers, {0, 1}, {2, 3})
    yield workers
    for worker in workers:
        await worker.stop()


@pytest.fixture
async def worker(workers: list[InProcessWorker]) -> InProcessWorker:
    return workers[0]


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


async def test_a_browser_is_asked_to_log_in_and_returns_to_the_page(worker: InProcessWorker) -> None:
    path = "/host?name=a%2Fb&from=2026-11-01"
    found = await send(worker, path, **HTML)
    assert (found.status, found.headers["Location"]) == (303, f"/login?next={quote(path)}")
    page = await send(worker, found.headers["Location"], **HTML)
    form = Form(await page.text())
    assert (page.status, form.fields) == (200, {"username": "sparkle", "token": None, "next": path})
    assert {name: page.headers[name] for name in PLAIN_PAGE_HEADERS} == PLAIN_PAGE_HEADERS
    assert page.headers["Cache-Control"] == "no-store"
    assert "script" not in form.tags
    done = await log_in(worker, "read ключ", path)
    assert (done.status, done.headers["Location"]) == (303, path)
    cookie = done.headers["Set-Cookie"]
    attributes = sorted(each.strip() for each in cookie.split(";")[1:])
    assert attributes == ["HttpOnly", "Max-Age=43200", "Path=/", "SameSite=Strict"]
    assert (await send(worker, PLUGINS, Cookie=cookie.partition(";")[0])).status == 200


@pytest.mark.parametrize("path", ["/", "/?"])
async def test_the_first_page_needs_no_path_to_return_to(worker: InProcessWorker, path: str) -> None:
    assert (await send(worker, path, **HTML)).headers["Location"].startswith("/login")
    assert (await send(worker, "/", **HTML)).headers["Location"] == "/login"


async def test_programs_get_a_problem_document(worker: InProcessWorker) -> None:
    bearer = {"Authorization": "Bearer wrong"}
    other = {"Authorization": "Basic dTpw"}
    for headers in ({}, other, {"Accept": "*/*"}, {"Accept": "application/json"}, HTML | bearer):
        found = await send(worker, PLUGINS, **headers)
        assert (found.status, found.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert found.content_type == "application/problem+json"
    # Credentials for a reverse proxy are none for the worker.
    assert (await send(worker, "/", **HTML, **other)).status == 303
    cookie = await cookie_of(worker, "operate")
    assert (await send(worker, PLUGINS, Cookie=cookie, **other)).status == 200
    assert (await send(worker, PLUGINS, Cookie=cookie, **bearer)).status == 401
    posted = await send(worker, "/api/v1/dead-letters/replay", "POST", **HTML)
    assert posted.status == 401


async def test_for_a_link_on_another_site_the_browser_is_asked_for_its_cookie(
    worker: InProcessWorker,
) -> None:
    """It does not send a cookie that is SameSite=Strict for the link, but for the page that the link opens."""
    path = "/host?a='\"><script>"
    found = await send(worker, path, Sec_Fetch_Site="cross-site", **HTML)
    text = await found.text()
    assert (found.status, found.content_type) == (200, "text/html")
    assert 'content="0; url=/host?a=' in text
    assert "<script>" not in text
    again = await send(worker, path, Sec_Fetch_Site="same-origin", Referer="https://other.example/", **HTML)
    assert again.status == 303
    for evil in ("//evil.example/", "/\\evil.example", "//evil.example%2f..", "/" + 3000 * "a"):
        for site in ("cross-site", "none"):
            elsewhere = await send(worker, evil, Sec_Fetch_Site=site, **HTML)
            assert "evil" not in await elsewhere.text() + elsewhere.headers.get("Location", "")
    # Over plain HTTP there is only the referrer, if any.
    for referrer, status in (
        ("https://other.example/", 200),
        (f"{worker.url}/host", 303),
        ("", 303),
        ("[", 200),
    ):
        assert (await send(worker, path, Referer=referrer, **HTML)).status == status


async def test_every_worker_accepts_the_session_that_one_has_begun(workers: list[InProcessWorker]) -> None:
    first, second = workers
    for token, role in (("read ключ", "read"), ("operate", "operator")):
        cookie = await cookie_of(first, token)
        assert (await send(second, PLUGINS, Cookie=cookie)).status == 200
        found = await (await send(second, "/api/v1/session", Cookie=cookie)).json()
        assert (found["role"], found["session"]) == (role, True)
        # Workers ask each other with a secret of their own.
        assert (await send(second, "/api/v1/plugins/Temperature", Cookie=cookie)).status == 200
    bearer = await (await send(second, "/api/v1/session", Authorization="Bearer operate")).json()
    assert bearer == {"role": "operator", "session": False, "expires_at": None}


async def test_an_expired_or_forged_session_is_none(
    worker: InProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = await cookie_of(worker, "read ключ")
    for forged in (cookie[:-1], cookie.replace(".read.", ".operator."), cookie.partition("=")[0] + "=x"):
        assert (await send(worker, PLUGINS, Cookie=forged)).status == 401
        redirected = await send(worker, "/", Cookie=forged, **HTML)
        assert (redirected.status, redirected.headers["Location"]) == (303, "/login")
    end = int(cookie.partition("=")[2].split(".")[2])
    for now, status in ((end - 1.0, 200), (float(end), 401)):
        monkeypatch.setattr(authentication, "time", SimpleNamespace(time=lambda now=now: now))
        assert (await send(worker, PLUGINS, Cookie=cookie)).status == status


async def test_a_session_ends_when_the_token_is_changed(worker: InProcessWorker, tmp_path: Path) -> None:
    cookie = await cookie_of(worker, "read ключ")
    changed = InProcessWorker(tmp_path / "c", "web: {token: another, operator_token: operate}")
    await changed.start()
    assert (await send(changed, PLUGINS, Cookie=cookie)).status == 401
    assert (await send(changed, PLUGINS, Cookie=await cookie_of(worker, "operate"))).status == 200
    await changed.stop()


async def test_log_out_deletes_the_cookie(worker: InProcessWorker) -> None:
    cookie = await cookie_of(worker, "read ключ")
    done = await send(worker, "/logout", "POST", Cookie=cookie, Origin=worker.url)
    assert (done.status, done.headers["Location"]) == (303, "/login")
    deleted = done.headers["Set-Cookie"]
    assert deleted.startswith(f'{cookie.partition("=")[0]}=""; ')
    assert "Max-Age=0" in deleted
    assert "Path=/" in deleted
    other = await send(worker, "/logout", "POST", Cookie=cookie, Origin="https://evil.example")
    assert (other.status, "Set-Cookie" in other.headers) == (403, False)
    assert (await send(worker, "/logout", Cookie=cookie)).status == 405


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "https://evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "evil",
        "",
        " /page",
        "/page\r\nSet-Cookie: a=b",
        "/хост",
        "/a b",
        "/" + MAX_PATH * "a",
    ],
)
async def test_no_other_site_is_returned_to(worker: InProcessWorker, target: str) -> None:
    assert local_path(target) == "/"
    done = await log_in(worker, "read ключ", target)
    assert (done.status, done.headers["Location"]) == (303, "/")
    page = await send(worker, f"/login?next={quote(target)}")
    assert Form(await page.text()).fields["next"] == "/"


@pytest.mark.parametrize(
    "target", ["/", "/host?name=a%2Fb&to=//x#y", "/a/..//b", "/%5Cevil", "/?next=https://x"]
)
def test_a_path_of_this_server_is_returned_to(target: str) -> None:
    assert local_path(target) == target


async def test_what_a_request_contains_is_escaped_in_the_page(worker: InProcessWorker) -> None:
    target = "/host?a=\"><script>alert(1)</script>&b='x'"
    for page in (
        await send(worker, f"/login?next={quote(target)}"),
        await log_in(worker, "<b>wrong</b>", target),
    ):
        text = await page.text()
        assert "<script" not in text
        assert "<b>" not in text
        assert Form(text).fields["next"] == target


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
    assert warnings == ["login: wrong token from '127.0.0.1' (1 since the last such line)"]
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


async def test_wrong_bearer_tokens_count_as_wrong_tokens_of_the_login_page(worker: InProcessWorker) -> None:
    for _ in range(ATTEMPTS):
        assert (await send(worker, PLUGINS, Authorization="Bearer wrong")).status == 401
    found = await send(worker, PLUGINS, Authorization="Bearer wrong")
    assert (found.status, found.content_type) == (429, "application/problem+json")
    assert 0 < int(found.headers["Retry-After"]) <= 30
    assert (await log_in(worker, "wrong")).status == 429
    # Nobody can keep others out.
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


async def test_the_number_of_forms_that_are_read_at_one_time_is_limited(worker: InProcessWorker) -> None:
    started = [await start_form(worker) for _ in range(MAX_FORMS)]
    found = await log_in(worker, "operate")
    assert (found.status, found.headers["Retry-After"]) == (429, "5")
    for reader, writer in started:
        writer.write(b"e")
        assert (await reader.readuntil(b"\r\n\r\n")).split()[1] == b"303"
        writer.close()
    assert (await log_in(worker, "operate")).status == 303


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("", "en"),
        ("ru", "ru"),
        ("ru-RU,ru;q=0.9,en;q=0.8", "ru"),
        ("en-US,en;q=0.9,ru;q=0.8", "en"),
        ("de, ru;q=0.1", "ru"),
        ("de;q=1.0, fr", "en"),
        ("RU-ru ; q=0.5 , EN;q=0.4", "ru"),
        ("ru;q=0", "en"),
        ("ru;q=x", "en"),
        ("*", "en"),
        (",;=,", "en"),
    ],
)
async def test_the_page_speaks_the_language_of_the_browser(
    worker: InProcessWorker, accepted: str, expected: str
) -> None:
    assert language(accepted) == expected
    page = await send(worker, "/login", Accept_Language=accepted)
    assert (page.headers["Content-Language"], page.headers["Vary"]) == (expected, "Accept-Language")
    text = await page.text()
    assert f'<html lang="{expected}">' in text
    assert LANGUAGES[expected]["hint"] in Form(text).texts


def test_both_languages_have_the_same_texts() -> None:
    english, russian = LANGUAGES["en"], LANGUAGES["ru"]
    assert set(english) == set(russian)
    assert all(("{seconds}" in english[name]) == ("{seconds}" in russian[name]) for name in english)


async def test_the_style_sheet_needs_no_token(worker: InProcessWorker) -> None:
    text = await (await send(worker, "/login")).text()
    path = text.partition('rel="stylesheet" href="')[2].partition('"')[0]
    style = await send(worker, path)
    assert (style.status, style.content_type) == (200, "text/css")
    assert "immutable" in style.headers["Cache-Control"]
    assert style.headers["X-Content-Type-Options"] == "nosniff"
    for other in (
        "/login/other.css",
        "/login/../api/v1/plugins",
        "/assets/../api/v1/plugins",
        "/assets/%2e%2e/metrics",
    ):
        assert (await send(worker, other)).status == 404


async def test_without_a_token_there_is_nothing_to_log_in_to(tmp_path: Path) -> None:
    worker = InProcessWorker(tmp_path / "open")
    await worker.start()
    found = await send(worker, "/login?next=/host")
    assert (found.status, found.headers["Location"]) == (303, "/host")
    posted = await log_in(worker, "anything", "/host")
    assert (posted.status, posted.headers["Location"]) == (303, "/host")
    assert "Set-Cookie" not in posted.headers
    out = await send(worker, "/logout", "POST")
    assert (out.status, out.headers["Location"]) == (303, "/")
    await worker.stop()


def test_the_roles_are_those_of_the_api() -> None:
    assert [role.value for role in sessions.Role] == ["read", "operator"]
