"""The login page: forms, cookies and redirects, with real HTTP and two workers."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from sparkle_app.web import authentication, sessions
from sparkle_app.web.authentication import MAX_PATH, local_path
from sparkle_app.web.html.messages import LANGUAGES, language
from sparkle_app.web.security_headers import PLAIN_PAGE_HEADERS
from tests.support.cluster import InProcessWorker
from tests.support.login import HTML, PLUGINS, Form, cookie_of, log_in, send, two_workers


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[list[InProcessWorker]]:
    async with two_workers(tmp_path) as workers:
        yield workers


@pytest.fixture
async def worker(workers: list[InProcessWorker]) -> InProcessWorker:
    return workers[0]


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
