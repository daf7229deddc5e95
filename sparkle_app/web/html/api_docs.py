"""The OpenAPI document as a page that needs neither scripts nor another server."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from aiohttp import web

from sparkle_app.web.api.openapi import PATH
from sparkle_app.web.html.elements import Markup, el, page
from sparkle_app.web.html.style import STYLE_PATH
from sparkle_app.web.security_headers import PLAIN_PAGE_HEADERS

DOCS_PATH = "/docs"
_CODE = re.compile(r"`([^`]+)`")
_REF = "#/components/schemas/"


def api_docs(document: Mapping[str, Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The endpoint of the page; it is rendered once.

    Arguments:
        document: the OpenAPI document.
    """
    body = render(document)

    async def endpoint(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="text/html", charset="utf-8", headers=PLAIN_PAGE_HEADERS)

    return endpoint


def render(document: Mapping[str, Any]) -> bytes:
    """The page."""
    info = document["info"]
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    contents = [
        el(
            "li",
            None,
            el("a", {"href": f"#{_anchor(method, path)}"}, f"{method.upper()} {path}"),
            f" {each['summary']}",
        )
        for path, method, each in operations
    ]
    title = f"API of the {info['title']}"
    return page(
        "en",
        title,
        STYLE_PATH,
        el("h1", None, title),
        el("p", None, info["description"], " As a file: ", el("a", {"href": PATH}, el("code", None, PATH))),
        *_security(document["components"].get("securitySchemes", {})),
        el("nav", {"aria-label": "Operations"}, el("ul", None, *contents)),
        *(_operation(*each) for each in operations),
        el("h2", None, "Schemas"),
        *(_schema(name, schema) for name, schema in document["components"]["schemas"].items()),
    )


def _security(schemes: Mapping[str, Any]) -> Iterator[Markup]:
    for name, scheme in schemes.items():
        yield el("p", None, el("strong", None, name), ": ", *_text(scheme["description"]))


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Markup:
    parameters = [
        [
            el("code", None, each["name"]),
            "path" if each["in"] == "path" else "query",
            _type(each["schema"]),
            _joined(_text(each["description"])),
        ]
        for each in operation["parameters"]
    ]
    found = [
        [status, _joined(_text(response.get("description", ""))), _contents(response)]
        for status, response in operation["responses"].items()
    ]
    return el(
        "section",
        {"id": _anchor(method, path)},
        el("h2", None, el("span", {"class": "method"}, method.upper()), " ", el("code", None, path)),
        el("p", None, *_text(operation["summary"])),
        _table(["parameter", "in", "type", "description"], parameters) if parameters else None,
        _table(["status", "when", "body"], found),
    )


def _contents(response: Mapping[str, Any]) -> Markup:
    kinds = [
        el("div", None, el("code", None, kind), " ", _type(content["schema"]))
        for kind, content in response.get("content", {}).items()
    ]
    headers = [
        el("div", None, "header ", el("code", None, name), ": ", *_text(header.get("description", "")))
        for name, header in response.get("headers", {}).items()
    ]
    return _joined([*kinds, *headers])


def _schema(name: str, schema: Mapping[str, Any]) -> Markup:
    required = schema.get("required", [])
    rows = [
        [
            el("code", None, field),
            _type(each),
            _joined(
                _text(
                    " ".join(
                        [each.get("description", ""), "" if field in required else "May be absent."]
                    ).strip()
                )
            ),
        ]
        for field, each in schema.get("properties", {}).items()
    ]
    return el(
        "section",
        {"id": f"schema-{name}"},
        el("h3", None, name),
        el("p", None, *_text(schema.get("description", ""))),
        _table(["field", "type", "description"], rows) if rows else el("p", None, _type(schema)),
    )


def _type(schema: Mapping[str, Any]) -> Markup:
    """The type of a value, in one line."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        return el("a", {"href": f"#schema-{name}"}, name)
    if "enum" in schema:
        return _separated([el("code", None, str(value)) for value in schema["enum"]], " | ")
    kind = schema.get("type")
    # In a parameter, anyOf only names formats.
    if "anyOf" in schema and kind is None:
        return _separated([_type(each) for each in schema["anyOf"]], " | ")
    if kind == "array":
        several = schema["prefixItems"] if "prefixItems" in schema else [schema.get("items", {})]
        return _joined(["array of ", _separated([_type(each) for each in several], ", ")])
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return _joined(["object of ", _type(schema["additionalProperties"])])
    formats = (
        [schema["format"]] if "format" in schema else [each["format"] for each in schema.get("anyOf", [])]
    )
    limits = [f"{words} {schema[key]}" for key, words in _LIMITS.items() if key in schema]
    return _joined([", ".join([str(kind or "any"), *formats, *limits])])


_LIMITS = {"minimum": "from", "maximum": "to", "maxItems": "at most"}


def _text(text: str) -> list[str]:
    """A text, with what is between backquotes as code."""
    return [
        el("code", None, part) if index % 2 else part for index, part in enumerate(_CODE.split(text)) if part
    ]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    head = el("thead", None, el("tr", None, *(el("th", {"scope": "col"}, each) for each in heads)))
    body = el("tbody", None, *(el("tr", None, *(el("td", None, cell) for cell in row)) for row in rows))
    return el("div", {"class": "scroll", "tabindex": "0"}, el("table", None, head, body))


def _joined(parts: Sequence[str]) -> Markup:
    return el("span", None, *parts)


def _separated(parts: Sequence[Markup], separator: str) -> Markup:
    return _joined([each for part in parts for each in (separator, part)][1:])


def _anchor(method: str, path: str) -> str:
    return method + re.sub(r"[^A-Za-z0-9]+", "-", path)
