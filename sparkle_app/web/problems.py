"""Errors as application/problem+json (RFC 9457)."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

_aiohttp_handle_error = web.RequestHandler.handle_error
logger = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RETRY_SECONDS = 5


class ProblemDetails(msgspec.Struct):
    """What an error's answer holds."""

    type: str
    title: str
    status: int
    detail: str


class Problem(Exception):
    """Raised to answer with an error.

    Arguments:
        status: of HTTP.
        detail: one line: what was expected, what was found, what to do.
        headers: added to the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


def unavailable(detail: str) -> Problem:
    """503: right now there is no answer that is sure to be right."""
    return Problem(503, detail, {"Retry-After": str(RETRY_SECONDS)})


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error, also aiohttp's own, becomes a problem document; a fault without a name is logged, not shown."""
    try:
        response = await handler(request)
    except Problem as problem:
        return _response(problem)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _response(Problem(error.status, f"{request.method} {request.path}: {error.reason}", headers))
    except Exception:
        logger.exception(
            "%s %s: a fault that has no name yet; please report it", request.method, request.path
        )
        return _response(Problem(500, "the handler's own fault; its log says more"))
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def malformed_request(
    protocol: web.RequestHandler,
    request: web.BaseRequest,
    status: int = 500,
    exc: BaseException | None = None,
    message: str | None = None,
) -> web.StreamResponse:
    """What cannot be read as HTTP is a problem document as well, and nothing that the log has to know.

    It takes the place of aiohttp's ``RequestHandler.handle_error``, which nothing that an application says reaches.
    """
    if not isinstance(exc, HttpProcessingError):
        return _aiohttp_handle_error(protocol, request, status, exc, message)
    # The lines after the first repeat the request.
    what = (message or "not HTTP").splitlines()[0].rstrip(":")
    response = _response(
        Problem(status, f"{what}; what is not ASCII has to be percent-encoded, as %C2%B0 for the sign °")
    )
    response.force_close()
    return response


def _response(problem: Problem) -> web.Response:
    details = ProblemDetails("about:blank", HTTPStatus(problem.status).phrase, problem.status, problem.detail)
    return web.Response(
        body=msgspec.json.encode(details),
        status=problem.status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", **problem.headers},
    )
