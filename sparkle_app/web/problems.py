"""Error responses as application/problem+json (RFC 9457)."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Literal

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import BadStatusLine, HttpProcessingError, InvalidURLError, LineTooLong

from sparkle_app.model.time import from_seconds
from sparkle_app.runtime.clock import WallClock
from sparkle_app.web.security_headers import ASSET_HEADERS

_aiohttp_handle_error = web.RequestHandler.handle_error
logger = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RETRY_SECONDS = 5
# aiohttp would name the versions of itself and of Python.
_SERVER = {"Server": "Sparkle-M"}
_HEADERS = {"Cache-Control": "no-store", **_SERVER, **ASSET_HEADERS}


Limit = Literal["points", "readings", "buckets"]


class ProblemDetails(msgspec.Struct, omit_defaults=True):
    """The body of an error response."""

    type: str
    title: str
    status: int
    detail: str
    limit: Limit | None = None
    """Of what a request would need too much; it could be narrower. Absent in all other responses."""


class Problem(Exception):
    """Raised to return an error response.

    Arguments:
        status: HTTP status code.
        detail: one line: what was expected, what was found, what to do.
        headers: additional headers of the response.
        limit: of what the request would need too much, for programs.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        *,
        limit: Limit | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        self.limit = limit


def unavailable(detail: str) -> Problem:
    """Status 503: an exact result is temporarily unavailable; the client should retry."""
    return Problem(503, detail, {"Retry-After": str(RETRY_SECONDS)})


def current_time(clock: WallClock) -> int:
    """The present, in microseconds since the epoch.

    Raises:
        Problem: 503, while it is not known.
    """
    if clock.in_doubt:
        raise unavailable("the clock of this worker has stepped: the time is not known; see the log")
    return from_seconds(clock.now())


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error, also those of aiohttp, into a problem document; log the details of unexpected ones."""
    try:
        response = await handler(request)
    except Problem as problem:
        return _response(problem)
    except web.HTTPException as error:
        if error.status < 400:
            error.headers.update(_SERVER)
            raise
        return http_problem(request, error)
    except Exception:
        logger.exception("%s %s: unexpected error; please report it", request.method, request.path)
        return _response(Problem(500, "internal error; see the log of this worker"))
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def http_problem(request: web.BaseRequest, error: web.HTTPException) -> web.Response:
    """Return a problem document for an error of aiohttp."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return _response(Problem(error.status, f"{request.method} {request.path}: {error.reason}", headers))


def malformed_request(
    protocol: web.RequestHandler,
    request: web.BaseRequest,
    status: int = 500,
    exc: BaseException | None = None,
    message: str | None = None,
) -> web.StreamResponse:
    """Return a problem document for a request that is not valid HTTP, without a traceback in the log.

    Replaces ``RequestHandler.handle_error``: aiohttp calls it before any middleware and offers no other hook.
    """
    if not isinstance(exc, HttpProcessingError):
        found = _aiohttp_handle_error(protocol, request, status, exc, message)
        found.headers.update(_SERVER)
        return found
    response = _response(Problem(status, _malformed(exc, message or "not HTTP")))
    response.force_close()
    return response


def _malformed(error: HttpProcessingError, message: str) -> str:
    """What is wrong with a request, without text of it."""
    if isinstance(error, LineTooLong):
        return f"header: expected lines of at most {error.args[1]} bytes, found a longer one"
    # The message of an invalid URL may be the URL. If a line begins with TLS, the message is only that.
    if isinstance(error, InvalidURLError) or (isinstance(error, BadStatusLine) and "\n" in message):
        return (
            "expected a request line such as GET /api/v1/plugins HTTP/1.1; in a URL, spaces and characters outside"
            " ASCII must be percent-encoded, for example ° as %C2%B0"
        )
    # The remaining lines repeat the request.
    return message.splitlines()[0].rstrip(":")


def _response(problem: Problem) -> web.Response:
    title = HTTPStatus(problem.status).phrase
    details = ProblemDetails("about:blank", title, problem.status, problem.detail, problem.limit)
    return web.Response(
        body=msgspec.json.encode(details),
        status=problem.status,
        content_type="application/problem+json",
        headers={**_HEADERS, **problem.headers},
    )
