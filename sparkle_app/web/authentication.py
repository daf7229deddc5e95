"""Who may do what: bearer tokens, sessions of browsers or, if no token is configured, requests from this machine.

Requests between workers have a secret of their own (partition_router.py), which no token of a user replaces.
"""

import math
import re
import time
from dataclasses import dataclass
from enum import Enum
from html import escape
from urllib.parse import quote, urlsplit

from aiohttp import hdrs, web
from yarl import URL

from sparkle_app.config.settings import Settings
from sparkle_app.config.web import LOCALHOST
from sparkle_app.web.dashboard.page import VIEWS, accepts_page
from sparkle_app.web.login_limit import LIMIT, LoginLimit
from sparkle_app.web.problems import Handler, Problem
from sparkle_app.web.reverse_proxy import client_address
from sparkle_app.web.security_headers import PLAIN_PAGE_HEADERS
from sparkle_app.web.sessions import Role, Tokens

PUBLIC = frozenset({"/health/live", "/health/ready"})
"""The paths of the API that need neither a token nor a certain Host header: probes and load balancers send none. The
response to an unauthorized request reveals nothing else."""
LOGIN_PATH = "/login"
LOGOUT_PATH = "/logout"
OPEN_FOLDERS = ("/assets/", "/login/")
"""Below them are files that are the same in every installation, such as style sheets: they need no token."""
INTERNAL_FOLDER = "/internal/"
"""For POST requests of workers: each endpoint verifies the workers' secret."""
MAX_PATH = 2000
"""Characters of the path to which a browser returns after logging in."""
# A browser takes two slashes, of which one may be a backslash, as the start of a host, and ignores control characters.
_LOCAL_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*", re.ASCII)
_READING = {hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS}


class Proof(Enum):
    """What shows who sent a request."""

    BEARER = "bearer"
    SESSION = "session"
    LOCALHOST = "localhost"
    """No token is configured, and the Host header names this machine."""


@dataclass(frozen=True)
class Access:
    """What a request may do."""

    role: Role
    proof: Proof
    until: int | None = None
    """When the session ends, in seconds since the epoch."""


ACCESS = web.RequestKey("access", Access)
"""The key of a request under which the middleware notes what it may do; absent if the request is unauthorized."""


def local_path(text: str) -> str:
    """Where a browser is sent: to ``text`` if it is a path of this server, otherwise to ``/``."""
    return text if len(text) <= MAX_PATH and _LOCAL_PATH.fullmatch(text) else "/"


def session_cookie(settings: Settings) -> str:
    """The name of the cookie: browsers send the cookies of one port to the other ports of the machine as well."""
    return f"{settings.app_id}-session"


def is_same_origin(request: web.Request) -> bool:
    """Whether a browser says that a page of this server sent the request.

    Browsers send Sec-Fetch-Site over HTTPS and to localhost only, but the Origin of every request that is not GET.
    """
    site = request.headers.get("Sec-Fetch-Site")
    return site == "same-origin" if site else _names_this_server(request.headers.get("Origin", ""), request)


def is_of_browser(request: web.Request) -> bool:
    """Whether a browser sent the request, if it is not GET."""
    return "Sec-Fetch-Site" in request.headers or "Origin" in request.headers


def authentication(settings: Settings) -> "web.Middleware":  # type: ignore[name-defined]
    """The middleware that rejects unauthorized requests with status 401, 403 or 429, or asks browsers to log in."""
    tokens = Tokens(settings.web)
    hosts = LOCALHOST | {settings.web.host, URL(settings.web_url).host}
    # Of their own: a program with an old token must not keep people at its address from logging in.
    cookie, bearers, logins = session_cookie(settings), LoginLimit(), LoginLimit()

    def verify(request: web.Request) -> Access:
        if not tokens:
            if _host(request) in hosts:
                return Access(Role.OPERATOR, Proof.LOCALHOST)
            # DNS rebinding: a web page of another site can resolve its own hostname to this address, and a browser
            # on this machine then sends its requests here.
            raise Problem(403, "Host: expected a name of this machine; set web.token to accept other names")
        bearer = _bearer(request)
        if bearer is not None:
            if role := tokens.role(bearer):
                # However many others at its address were wrong: programs behind one proxy may have one address.
                return Access(role, Proof.BEARER)
            if wait := bearers.attempt(client_address(request, settings.web.trust_proxy)):
                seconds = math.ceil(wait)
                raise Problem(
                    429, f"too many wrong tokens; try again in {seconds} s", {"Retry-After": str(seconds)}
                )
        elif session := tokens.session(request.cookies.get(cookie, ""), time.time()):
            return Access(session[0], Proof.SESSION, session[1])
        raise Problem(
            401,
            f"Authorization: expected Bearer and the value of web.token; a browser can log in at {LOGIN_PATH}",
            {"WWW-Authenticate": "Bearer"},
        )

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[LIMIT] = logins
        if request.method == hdrs.METH_POST and request.rel_url.raw_path.startswith(INTERNAL_FOLDER):
            return await handler(request)
        is_open = (
            request.path in {*PUBLIC, LOGIN_PATH, LOGOUT_PATH}
            or request.rel_url.raw_path.startswith(OPEN_FOLDERS)
            # A terminal is told where to look.
            or (tokens and request.path in VIEWS and not accepts_page(request))
        )
        try:
            request[ACCESS] = verify(request)
        except Problem:
            if not is_open:
                if tokens and _is_page_view(request):
                    return _to_login(request)
                raise
        if request.method not in _READING and not is_open:
            _check_write(request, request[ACCESS])
        return await handler(request)

    return check


def _check_write(request: web.Request, access: Access) -> None:
    if access.role is not Role.OPERATOR:
        raise Problem(
            403, "expected the operator token (web.operator_token), found the read token (web.token)"
        )
    # A page of another site can make a browser send its cookie, or a request from this machine; but no bearer token.
    of_browser = access.proof is Proof.SESSION or (access.proof is Proof.LOCALHOST and is_of_browser(request))
    if of_browser and not is_same_origin(request):
        raise Problem(
            403, "request of another site refused: send a bearer token, or send it from a page of this server"
        )


def _is_page_view(request: web.Request) -> bool:
    """Whether a person has opened the URL in a browser."""
    return (
        request.method in {hdrs.METH_GET, hdrs.METH_HEAD}
        and _bearer(request) is None
        and accepts_page(request)
    )


def _to_login(request: web.Request) -> web.Response:
    path = local_path(request.rel_url.raw_path_qs)
    if _is_link_of_other_site(request):
        # A browser does not send the cookie for the link. It does for this page, which leads to the same URL.
        return web.Response(
            body=_again(path), content_type="text/html", charset="utf-8", headers=PLAIN_PAGE_HEADERS
        )
    target = LOGIN_PATH if path == "/" else f"{LOGIN_PATH}?next={quote(path, safe='/')}"
    return web.Response(status=303, headers={"Location": target})


def _is_link_of_other_site(request: web.Request) -> bool:
    site, referrer = request.headers.get("Sec-Fetch-Site"), request.headers.get(hdrs.REFERER)
    return site == "cross-site" if site else bool(referrer and not _names_this_server(referrer, request))


def _bearer(request: web.Request) -> bytes | None:
    """The bearer token; None if there is none. Credentials of another scheme may be those for a reverse proxy."""
    scheme, _, credentials = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return credentials.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else None


def _again(path: str) -> bytes:
    return f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={escape(path)}">'.encode()


def _names_this_server(origin: str, request: web.Request) -> bool:
    try:
        found = urlsplit(origin)
        expected = urlsplit(f"{found.scheme}://{request.host}")
        port = {"http": 80, "https": 443}.get(found.scheme)
        return (
            port is not None
            and found.hostname is not None
            and (found.hostname, found.port or port) == (expected.hostname, expected.port or port)
        )
    except ValueError:
        return False


def _host(request: web.Request) -> str | None:
    try:
        return URL(f"http://{request.host}").host
    except ValueError:
        return None
