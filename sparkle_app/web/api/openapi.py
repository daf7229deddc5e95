"""The OpenAPI 3.1 document, generated from the routes and the types of their responses."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from sparkle_app.web.api.route import Route
from sparkle_app.web.negotiation import CSV, JSON
from sparkle_app.web.problems import ProblemDetails

PATH = "/api/v1/openapi.json"
_PATH_PARAMETERS = {
    "plugin": "NAME of an installed plugin.",
    "key": "Key of a dead letter, percent-encoded (a slash as %2F).",
    "host": "Hostname, percent-encoded (a slash as %2F).",
}

_CSV_TEXT = (
    "With `Accept: text/csv`. CSV (RFC 4180) with a header line, and with the columns of the SQL table. A text that a"
    " spreadsheet would take for a formula begins with an apostrophe, as does one that has an apostrophe there; so does"
    " what follows a semicolon, a tab or a line break."
)
_TAG_TEXT = (
    "Identifies the response except for `made_at`, for the header `If-None-Match` of the next request. The same in all"
    " workers."
)
_AGE_TEXT = "Seconds since `made_at`."
_LINK_TEXT = "Of CSV: the next page as `rel=next`; absent on the last page."


_SECURITY: list[dict[str, list[str]]] = [{"token": []}, {"session": []}]
"""One of them is sufficient."""


def document(routes: Sequence[Route], token: bool, cookie: str) -> dict[str, Any]:
    """Generate the document.

    Arguments:
        token: whether requests must carry a token.
        cookie: name of the cookie of a session.
    """
    _, schemas = msgspec.json.schema_components(
        [*dict.fromkeys(route.response for route in routes), ProblemDetails],
        ref_template="#/components/schemas/{name}",
    )
    components: dict[str, Any] = {"schemas": schemas}
    if token:
        components["securitySchemes"] = {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "The value of web.token or, for requests that change something, of web.operator_token.",
            },
            "session": {
                "type": "apiKey",
                "in": "cookie",
                "name": cookie,
                "description": "Of a browser, after POST /login with the form field `token`. Requests that change"
                " something also need `Sec-Fetch-Site: same-origin`, or an `Origin` that is this server.",
            },
        }
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method] = _operation(route, token)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sparkle-M handler",
            "version": "1",
            "description": "Rolling statistics and history of the hosts' metrics. Every worker serves all hosts.",
        },
        "paths": paths,
        "components": components,
    }


def _operation(route: Route, token: bool) -> dict[str, Any]:
    path_names = re.findall(r"{(\w+)}", route.path)
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_PARAMETERS[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in path_names
    ] + [
        {
            "name": parameter.name,
            "in": "query",
            "description": parameter.description,
            "schema": parameter.schema,
        }
        for parameter in route.parameters
    ]
    content: dict[str, Any] = {JSON: {"schema": {"$ref": f"#/components/schemas/{route.response.__name__}"}}}
    success: dict[str, Any] = {"description": route.summary, "content": content}
    if route.csv:
        content[CSV] = {"schema": {"type": "string", "description": _CSV_TEXT}}
        success["headers"] = {
            "Link": {"description": _LINK_TEXT, "schema": {"type": "string"}},
            "Content-Disposition": {
                "description": "Of CSV: a name for the file.",
                "schema": {"type": "string"},
            },
        }
    responses: dict[str, Any] = {str(status): success for status in route.statuses}
    if "made_at" in route.response.__struct_fields__:
        success["headers"] = {"Age": {"description": _AGE_TEXT, "schema": {"type": "integer"}}}
    if route.tagged:
        success["headers"]["ETag"] = {"description": _TAG_TEXT, "schema": {"type": "string"}}
        responses["304"] = {
            "description": "The client has this response: `If-None-Match` contains its `ETag`",
            "headers": success["headers"],
        }
    problems = {400: "Invalid parameter", **route.problems}
    if not route.public:
        problems |= (
            {401: "Missing or wrong token", 429: "Too many wrong tokens from this address"}
            if token
            else {403: "The Host header does not name this machine"}
        )
    if route.writes:
        problems |= {403: "Operator role required, or cross-site request"}
    if path_names:
        problems |= {
            404: "Unknown plugin, host or dead letter",
            502: "Unexpected response from another worker",
            503: "Temporarily unavailable, for example during a rebalance; retry after Retry-After seconds",
        }
    for status, description in problems.items():
        responses.setdefault(str(status), _problem(description))
    operation = {"summary": route.summary, "parameters": parameters, "responses": responses}
    if token and not route.public:
        operation["security"] = _SECURITY
    return operation


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}
