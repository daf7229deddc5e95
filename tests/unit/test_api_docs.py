"""The description of the API as a page."""

from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sparkle_app.web.api import openapi
from sparkle_app.web.api.pipeline import Pipeline
from sparkle_app.web.api.replay import Replays
from sparkle_app.web.api.routes import routes
from sparkle_app.web.api.window_queries import WindowQueries
from sparkle_app.web.html.api_docs import render
from sparkle_app.web.html.elements import el
from sparkle_app.web.security_headers import PLAIN_PAGE_HEADERS
from sparkle_app.web.snapshots.views import Views
from tests.support.cluster import InProcessWorker
from tests.support.login import cookie_of, send

VOID = {"meta", "link", "input", "br"}


class Page(HTMLParser):
    """The ids, links and texts of a page whose elements are all closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        if tag not in VOID:
            self._open.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        (self.links if tag == "a" else self.loaded).extend(
            attributes[name] for name in ("href", "src") if name in attributes
        )
        assert not [name for name in attributes if name.startswith("on") or name == "style"]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[InProcessWorker]:
    worker = InProcessWorker(tmp_path / "worker", "web: {token: read}")
    await worker.start()
    yield worker
    await worker.stop()


async def test_the_page_describes_every_operation_and_schema(worker: InProcessWorker) -> None:
    bearer = {"Authorization": "Bearer read"}
    found = await send(worker, "/docs", **bearer)
    assert {name: found.headers[name] for name in PLAIN_PAGE_HEADERS} == PLAIN_PAGE_HEADERS
    page = Page(await found.text())
    _, document = await worker.get(openapi.PATH, **bearer)
    text = "\n".join(page.texts)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert f"{method.upper()} {path}" in text
            for parameter in operation["parameters"]:
                assert parameter["name"] in page.texts
                assert parameter["description"].split("`")[0] in text
    assert set(document["components"]["schemas"]) <= set(page.texts)
    # Links lead to what is on the page, and nothing is loaded from elsewhere.
    assert len(set(page.ids)) == len(page.ids)
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= set(page.ids)
    assert [link for link in page.links if not link.startswith("#")] == [openapi.PATH]
    assert all(each == "data:," or each.startswith("/login/") for each in page.loaded)
    assert "script" not in page.tags


async def test_the_page_needs_a_token_or_a_session(worker: InProcessWorker) -> None:
    assert (await send(worker, "/docs")).status == 401
    asked = await send(worker, "/docs", Accept="text/html")
    assert (asked.status, asked.headers["Location"]) == (303, "/login?next=/docs")
    assert (await send(worker, "/docs", Cookie=await cookie_of(worker, "read"))).status == 200


def test_what_the_document_contains_is_escaped() -> None:
    hostile = "<script>alert('`<b>`')</script>\"&"
    operation = {
        "summary": hostile,
        "parameters": [
            {"name": hostile, "in": "query", "description": hostile, "schema": {"enum": [hostile]}}
        ],
        "responses": {hostile: {"description": hostile, "content": {hostile: {"schema": {"type": hostile}}}}},
    }
    schema = {"description": hostile, "properties": {hostile: {"$ref": f"#/components/schemas/{hostile}"}}}
    document = {
        "info": {"title": hostile, "description": hostile},
        "paths": {f"/{hostile}": {"get": operation}},
        "components": {"schemas": {hostile: schema}, "securitySchemes": {hostile: {"description": hostile}}},
    }
    page = Page(render(document).decode())
    assert not {"script", "b"} & page.tags
    assert hostile in page.texts


def test_texts_and_attributes_are_escaped_and_elements_are_not() -> None:
    inner = el("b", None, '1 < 2 & "3"')
    assert el("p", {"title": "\"'<&", "hidden": True, "id": None, "lang": False}, inner, None, "<i>") == (
        '<p title="&quot;&#x27;&lt;&amp;" hidden><b>1 &lt; 2 &amp; "3"</b>&lt;i&gt;</p>'
    )
    assert el("input", {"value": ""}) == '<input value="">'


async def test_schemas_are_in_the_order_in_which_the_paths_refer_to_them(worker: InProcessWorker) -> None:
    """So that the document is the same in each worker, and a difference of two releases is one of the API."""
    parts = worker.parts
    table = routes(parts, WindowQueries(parts), Views(parts), Pipeline(parts), Replays(parts))
    schemas = list(openapi.document(table, token=True, cookie="x-session")["components"]["schemas"])
    places = [schemas.index(route.response.__name__) for route in table]
    assert [place for number, place in enumerate(places) if place not in places[:number]] == sorted({*places})


async def test_schemas_are_not_named_after_modules(worker: InProcessWorker) -> None:
    """As msgspec names those of two classes with one name."""
    _, document = await worker.get(openapi.PATH, Authorization="Bearer read")
    schemas = document["components"]["schemas"]
    assert {"Headline", "HeadlineStatistics"} <= schemas.keys()
    assert [name for name in schemas if not name.isidentifier()] == []
