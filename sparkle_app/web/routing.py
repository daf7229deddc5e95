"""The endpoints of a worker's web server: the page, the public routes, the OpenAPI document, queries of workers."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from sparkle_app.config.settings import Settings
from sparkle_app.web import host_metrics
from sparkle_app.web.api import openapi
from sparkle_app.web.api.parameters import read
from sparkle_app.web.api.pipeline import PIPELINE_PATH, Pipeline, PipelineQuery
from sparkle_app.web.api.replay import REPLAY_PATH, ReplayQuery, Replays
from sparkle_app.web.api.route import CsvFile, Route
from sparkle_app.web.api.routes import routes
from sparkle_app.web.api.window_queries import WindowQueries
from sparkle_app.web.authentication import ACCESS, authentication, session_cookie
from sparkle_app.web.conditional import Tagged, age
from sparkle_app.web.dashboard.page import add_page
from sparkle_app.web.encoding import encode
from sparkle_app.web.html.api_docs import DOCS_PATH, api_docs
from sparkle_app.web.html.login import add_login
from sparkle_app.web.html.style import STYLE_PATH, style
from sparkle_app.web.negotiation import CSV, prefers_csv
from sparkle_app.web.partition_router import DECODE_ERRORS, INTERNAL_PATH, WindowQuery, WorkersSecret
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, malformed_request, problems
from sparkle_app.web.snapshots.lines import LINES_PATH, LinesQuery
from sparkle_app.web.snapshots.views import Views

_MAX_NAME = 150
"""Of a file to save, in characters."""
_window_query = msgspec.json.Decoder(WindowQuery)
_pipeline_query = msgspec.json.Decoder(PipelineQuery)
_lines_query = msgspec.json.Decoder(LinesQuery)
_replay_query = msgspec.json.Decoder(ReplayQuery)
Query = TypeVar("Query")


def middlewares(settings: Settings) -> list[Any]:
    """The middlewares that every request passes, outermost first."""
    return [problems, authentication(settings)]


def add_routes(router: web.UrlDispatcher, parts: WebParts) -> None:
    """Add all endpoints to a web server."""
    web.RequestHandler.handle_error = malformed_request  # type: ignore[assignment, method-assign]
    windows, views, pipeline, replays = WindowQueries(parts), Views(parts), Pipeline(parts), Replays(parts)
    table = routes(parts, windows, views, pipeline, replays)
    for route in table:
        # A name may contain any character; a slash arrives percent-encoded.
        path = re.sub(r"{(\w+)}", r"{\1:[^/]+}", route.path)
        add = router.add_post if route.writes else router.add_get
        add(path, _endpoint(parts, route))
    described = openapi.document(table, bool(parts.settings.web.tokens), session_cookie(parts.settings))
    document = msgspec.json.encode(described)

    async def openapi_endpoint(_request: web.Request) -> web.Response:
        return web.Response(body=document, content_type="application/json")

    router.add_get(openapi.PATH, openapi_endpoint)
    add_page(router, parts.settings.web.trust_proxy)
    router.add_get(host_metrics.PATH, host_metrics.host_metrics_endpoint(parts))
    router.add_get(DOCS_PATH, api_docs(described))
    router.add_get(STYLE_PATH, style)
    add_login(router, parts.settings)
    router.add_post(INTERNAL_PATH, _internal(_window_query, lambda query: query.plugin, windows.local, parts))
    router.add_post(PIPELINE_PATH, _internal(_pipeline_query, lambda _: None, pipeline.local, parts))
    router.add_post(LINES_PATH, _internal(_lines_query, lambda query: query.view.plugin, views.page, parts))
    router.add_post(REPLAY_PATH, _internal(_replay_query, lambda _: None, replays.local, parts))


def _endpoint(parts: WebParts, route: Route) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def endpoint(request: web.Request) -> web.Response:
        names = dict(request.match_info)
        if names.get("plugin", "") not in {"", *parts.plugins}:
            installed = ", ".join(parts.plugins)
            raise Problem(
                404, f"plugin {names['plugin'][:100]!r} is not installed; installed plugins: {installed}"
            )
        values = {**names, **read(request.query, route.parameters)}
        if route.knows_access:
            values["access"] = request[ACCESS]
        if route.csv and prefers_csv(request.headers.getall("Accept", [])):
            return _csv(request, await route.csv(**values))
        response = await route.handle(**values)
        made_at = getattr(response, "made_at", None)
        if isinstance(response, Tagged):
            found = await response.response(request, parts.slices)
        else:
            status = route.status(response)
            found = await _json(parts, response if ACCESS in request else route.public_part(response), status)
            if route.csv:
                found.headers["Vary"] = "Accept"
        if made_at:
            found.headers.update(age(made_at, parts.clock))
        return found

    return endpoint


def _internal(
    decoder: "msgspec.json.Decoder[Query]",
    plugin_of: Callable[[Query], str | None],
    answer: Callable[[Query], Awaitable[msgspec.Struct]],
    parts: WebParts,
) -> Callable[[web.Request], Awaitable[web.Response]]:
    secret = WorkersSecret(parts.cipher)

    async def internal(request: web.Request) -> web.Response:
        body = await secret.body(request, parts.group.url)
        try:
            query = decoder.decode(body)
        except DECODE_ERRORS as error:
            raise Problem(400, f"expected a query of another worker, found {error}") from error
        if plugin_of(query) not in {None, *parts.tables}:
            raise Problem(503, f"plugin {plugin_of(query)!r} is not installed on this worker")
        return await _json(parts, await answer(query), 200)

    return internal


async def _json(parts: WebParts, body: msgspec.Struct, status: int) -> web.Response:
    return web.Response(body=await encode(body, parts.slices), status=status, content_type="application/json")


def _csv(request: web.Request, file: CsvFile) -> web.Response:
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", file.name)[-_MAX_NAME:].lstrip(".-")
    headers = {
        "Content-Type": f"{CSV}; charset=utf-8; header=present",
        "Content-Disposition": f'attachment; filename="{name}"',
        "Vary": "Accept",
    }
    if file.next_page:
        headers["Link"] = f'<{request.rel_url.update_query(file.next_page)}>; rel="next"'
    return web.Response(body=file.body, headers=headers)
