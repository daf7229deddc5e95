"""The login page: a form that works without scripts. A token becomes a cookie that every worker accepts."""

import asyncio
import logging
import math
import time
from urllib.parse import parse_qs

from aiohttp import web

from sparkle_app.config.settings import Settings
from sparkle_app.runtime.terminal import counted
from sparkle_app.web.authentication import (
    LOGIN_PATH,
    LOGOUT_PATH,
    is_of_browser,
    is_same_origin,
    local_path,
    session_cookie,
)
from sparkle_app.web.html.elements import el, page
from sparkle_app.web.html.messages import LANGUAGES, language
from sparkle_app.web.html.style import STYLE_PATH
from sparkle_app.web.login_limit import LIMIT
from sparkle_app.web.problems import Problem
from sparkle_app.web.reverse_proxy import client_address, uses_https
from sparkle_app.web.security_headers import PLAIN_PAGE_HEADERS
from sparkle_app.web.sessions import Tokens

MAX_FORM_BYTES = 16_384
FORM_SECONDS = 5.0
"""How long a client may take to send the form."""
MAX_FORMS = 20
"""Read at one time; beyond it, the one that has been read for the longest time is not waited for any more."""
LOG_SECONDS = 60.0

logger = logging.getLogger(__name__)


def add_login(router: web.UrlDispatcher, settings: Settings) -> None:
    """Add the login page to a web server."""
    login = _Login(settings)
    router.add_get(LOGIN_PATH, login.show)
    router.add_post(LOGIN_PATH, login.log_in)
    router.add_post(LOGOUT_PATH, login.log_out)


class _Login:
    def __init__(self, settings: Settings) -> None:
        self._tokens = Tokens(settings.web)
        self._cookie = session_cookie(settings)
        self._app_id = settings.app_id
        self._seconds = settings.web.session_seconds
        self._proxy = settings.web.trust_proxy
        # When to stop waiting for each form that is being read, the one that has been read for the longest time first.
        self._reading: list[asyncio.Timeout] = []
        self._failed = 0
        self._log_at = 0.0

    async def show(self, request: web.Request) -> web.Response:
        target = local_path(request.query.get("next", "/"))
        # Without tokens there is nothing to log in with.
        return self._form(request, target) if self._tokens else _redirect(target)

    async def log_in(self, request: web.Request) -> web.Response:
        _refuse_other_sites(request)
        form = await self._read_form(request)
        target = local_path(form.get("next", "/"))
        if not self._tokens:
            return _redirect(target)
        address, limit = client_address(request, self._proxy), request[LIMIT]
        # From here to the comparison, nothing is awaited: concurrent requests are counted, too.
        if wait := limit.attempt(address):
            seconds = math.ceil(wait)
            found = self._form(request, target, "too_many", seconds=seconds, status=429)
            found.headers["Retry-After"] = str(seconds)
            return found
        role = self._tokens.role(form.get("token", "").strip().encode("utf-8", "surrogateescape"))
        if role is None:
            self._log_failure(address)
            return self._form(request, target, "wrong", status=401)
        limit.succeeded(address)
        response = _redirect(target)
        response.set_cookie(
            self._cookie,
            self._tokens.cookie(role, time.time()),
            max_age=self._seconds,
            path="/",
            secure=uses_https(request, self._proxy),
            httponly=True,
            samesite="Strict",
        )
        return response

    async def log_out(self, request: web.Request) -> web.Response:
        _refuse_other_sites(request)
        response = _redirect(LOGIN_PATH if self._tokens else "/")
        response.del_cookie(
            self._cookie, path="/", secure=uses_https(request, self._proxy), httponly=True, samesite="Strict"
        )
        return response

    async def _read_form(self, request: web.Request) -> dict[str, str]:
        """As the function of this name, for a limited number of requests at one time.

        Raises:
            Problem: the same; also 408, if the form does not come in time.
        """
        if len(self._reading) >= MAX_FORMS:
            # Who sends half of many forms keeps nobody else from logging in.
            oldest = self._reading.pop(0)
            if not oldest.expired():
                oldest.reschedule(asyncio.get_running_loop().time())
        limit = asyncio.timeout(FORM_SECONDS)
        self._reading.append(limit)
        try:
            async with limit:
                return await _read_form(request)
        except TimeoutError:
            raise Problem(
                408, f"body: expected within {FORM_SECONDS:g} s, or sooner while others log in"
            ) from None
        finally:
            if limit in self._reading:
                self._reading.remove(limit)

    def _form(
        self, request: web.Request, target: str, error: str = "", *, status: int = 200, seconds: int = 0
    ) -> web.Response:
        name = language(request.headers.get("Accept-Language", ""))
        texts = LANGUAGES[name]
        message = (
            el("p", {"class": "error", "role": "alert"}, texts[error].format(seconds=seconds))
            if error
            else None
        )
        field = el(
            "input",
            {
                "id": "token",
                "name": "token",
                "type": "password",
                "autocomplete": "current-password",
                "aria-describedby": "hint",
                "required": True,
                "autofocus": True,
            },
        )
        form = el(
            "form",
            {"method": "post", "action": LOGIN_PATH, "class": "login"},
            el("h1", None, texts["heading"]),
            message,
            # For password managers.
            el(
                "input",
                {
                    "name": "username",
                    "autocomplete": "username",
                    "value": self._app_id,
                    "type": "text",
                    "hidden": True,
                },
            ),
            el("label", {"for": "token"}, texts["token"]),
            field,
            el("p", {"id": "hint", "class": "muted"}, texts["hint"]),
            el("input", {"type": "hidden", "name": "next", "value": target}),
            el("button", None, texts["submit"]),
            el("p", {"class": "muted"}, texts["cookies"]),
        )
        headers = {**PLAIN_PAGE_HEADERS, "Vary": "Accept-Language", "Content-Language": name}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return web.Response(
            body=page(name, texts["title"], STYLE_PATH, form),
            status=status,
            content_type="text/html",
            charset="utf-8",
            headers=headers,
        )

    def _log_failure(self, address: str) -> None:
        self._failed += 1
        if time.monotonic() >= self._log_at:
            logger.warning(
                "login failed: wrong token from %.50r (%s since this was last logged)",
                address,
                counted(self._failed, "failure"),
            )
            self._failed, self._log_at = 0, time.monotonic() + LOG_SECONDS


def _refuse_other_sites(request: web.Request) -> None:
    if is_of_browser(request) and not is_same_origin(request):
        raise Problem(403, "Sec-Fetch-Site: expected same-origin, found a form of another site")


async def _read_form(request: web.Request) -> dict[str, str]:
    """The first value of each field.

    Raises:
        Problem: 400, 413 or 415, if it is no form of the login page.
    """
    if request.content_type != "application/x-www-form-urlencoded":
        raise Problem(415, "Content-Type: expected application/x-www-form-urlencoded")
    body = await request.content.read(MAX_FORM_BYTES + 1)
    while len(body) <= MAX_FORM_BYTES and (more := await request.content.read(MAX_FORM_BYTES)):
        body += more
    if len(body) > MAX_FORM_BYTES:
        raise Problem(413, f"body: expected at most {MAX_FORM_BYTES} bytes")
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=10, errors="surrogateescape")
    except ValueError:
        # Not chained: it may quote a token.
        raise Problem(400, "body: expected the fields token and next, percent-encoded") from None
    return {name: values[0] for name, values in fields.items()}


def _redirect(target: str) -> web.Response:
    return web.Response(status=303, headers={"Location": target})
