"""The OpenAPI 3.1 document, made from the table of routes and the types of the answers."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from sparkle_app.web.api.routes import Route
from sparkle_app.web.problems import ProblemDetails

PATH = "/api/v1/openapi.json"
_PATH_PARAMETERS = {
    "plugin": "NAME of an installed plugin.",
    "host": "Hostname, percent-encoded, a slash as %2F.",
}


def document(routes: Sequence[Route], token: bool) -> dict[str, Any]:
    """The document.

    Arguments:
        token: whether a token is required.
    """
    _, schemas = msgspec.json.schema_components(
        [*{route.answer for route in routes}, ProblemDetails], ref_template="#/components/schemas/{name}"
    )
    components: dict[str, Any] = {"schemas": schemas}
    if token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sparkle-M handler",
            "version": "1",
            "description": "Rolling averages of encrypted readings, and their past. Any worker answers for any host.",
        },
        "paths": {route.path: {"get": _operation(route, token)} for route in routes},
        "components": components,
    }


def _operation(route: Route, token: bool) -> dict[str, Any]:
    named = re.findall(r"{(\w+)}", route.path)
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_PARAMETERS[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in named
    ] + [
        {
            "name": parameter.name,
            "in": "query",
            "description": parameter.description,
            "schema": parameter.schema,
        }
        for parameter in route.parameters
    ]
    answer = {"application/json": {"schema": {"$ref": f"#/components/schemas/{route.answer.__name__}"}}}
    responses: dict[str, Any] = {
        str(status): {"description": route.summary, "content": answer} for status in route.statuses
    }
    problems = {400: "A parameter is wrong"}
    if not route.public:
        problems |= (
            {401: "The token is missing or wrong"}
            if token
            else {403: "The Host header names another machine"}
        )
    if named:
        problems |= {
            404: "There is no such plugin or host",
            502: "A worker gave no proper answer",
            503: "Right now no answer is sure to be right; Retry-After says when to ask again",
        }
    for status, description in problems.items():
        responses.setdefault(str(status), _problem(description))
    operation = {"summary": route.summary, "parameters": parameters, "responses": responses}
    if token and not route.public:
        operation["security"] = [{"token": []}]
    return operation


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}
