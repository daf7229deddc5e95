"""Who may ask: those with the token, or, where there is none, those who mean this machine."""

import hmac

from aiohttp import web
from yarl import URL

from sparkle_app.config.settings import LOCALHOST, Settings
from sparkle_app.web.problems import Handler, Problem

PUBLIC = frozenset({"/health/live"})
"""The paths that need no token: a supervisor that only wants to know whether the process runs learns nothing else."""


def authentication(settings: Settings) -> "web.Middleware":  # type: ignore[name-defined]
    """A middleware that refuses what has no business here."""
    token = settings.web.token.get_secret_value().encode() if settings.web.token else None
    hosts = LOCALHOST | {settings.web.host, URL(settings.web_url).host}

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in PUBLIC:
            return await handler(request)
        if token:
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            secret = given.strip().encode("utf-8", "surrogateescape")
            if scheme.lower() != "bearer" or not hmac.compare_digest(secret, token):
                raise Problem(
                    401, "expected Authorization: Bearer with web.token", {"WWW-Authenticate": "Bearer"}
                )
        elif _host(request) not in hosts:
            # A page of some other site, whose name was made to point here, runs in a browser on this machine.
            raise Problem(
                403, "expected a Host header that names this machine; set web.token to allow others"
            )
        return await handler(request)

    return check


def _host(request: web.Request) -> str | None:
    try:
        return URL(f"http://{request.host}").host
    except ValueError:
        return None
