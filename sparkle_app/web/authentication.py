"""Authentication of requests: the bearer token or, if none is configured, a Host header that names this machine."""

import hmac

from aiohttp import web
from yarl import URL

from sparkle_app.config.sections import LOCALHOST
from sparkle_app.config.settings import Settings
from sparkle_app.web.problems import Handler, Problem

PUBLIC = frozenset({"/health/live", "/health/ready"})
"""The paths that need neither a token nor a certain Host header: probes and load balancers send none. The response to
an unauthorized request reveals nothing else."""
AUTHORIZED = web.RequestKey("authorized", bool)
"""The key of a request under which the middleware notes whether it is authorized."""


def authentication(settings: Settings) -> "web.Middleware":  # type: ignore[name-defined]
    """The middleware that rejects unauthorized requests with status 401 or 403."""
    token = settings.web.token.get_secret_value().encode() if settings.web.token else None
    hosts = LOCALHOST | {settings.web.host, URL(settings.web_url).host}

    def verify(request: web.Request) -> None:
        if token:
            scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
            secret = credentials.strip().encode("utf-8", "surrogateescape")
            if scheme.lower() != "bearer" or not hmac.compare_digest(secret, token):
                raise Problem(
                    401,
                    "Authorization: expected Bearer and the value of web.token",
                    {"WWW-Authenticate": "Bearer"},
                )
        elif _host(request) not in hosts:
            # DNS rebinding: a web page of another site can resolve its own hostname to this address, and a browser
            # on this machine then sends its requests here.
            raise Problem(403, "Host: expected a name of this machine; set web.token to accept other names")

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[AUTHORIZED] = True
        try:
            verify(request)
        except Problem:
            if request.path not in PUBLIC:
                raise
            request[AUTHORIZED] = False
        return await handler(request)

    return check


def _host(request: web.Request) -> str | None:
    try:
        return URL(f"http://{request.host}").host
    except ValueError:
        return None
