"""Serves the page and its files. They contain no data: the page asks the API for it."""

from aiohttp import web

from sparkle_app.web.dashboard.assets import Asset, load_assets
from sparkle_app.web.negotiation import accepts_gzip
from sparkle_app.web.problems import Problem
from sparkle_app.web.reverse_proxy import uses_https
from sparkle_app.web.security_headers import ASSET_HEADERS, PAGE_HEADERS

VIEWS = ("/", "/host", "/compare", "/dead-letters", "/pipeline")
"""The paths of the page: each is one of its views (static/router.js)."""
ASSETS = "/assets/"


def accepts_page(request: web.Request) -> bool:
    """Whether the client shows HTML: a browser that opens a URL does."""
    return "text/html" in request.headers.get("Accept", "").lower()


def add_page(router: web.UrlDispatcher, trust_proxy: bool) -> None:
    """Add the page to a web server.

    Arguments:
        trust_proxy: whether all requests come through a proxy, which may end TLS.
    """
    assets = load_assets(ASSETS)

    async def view(request: web.Request) -> web.Response:
        if not accepts_page(request):
            return _for_terminal(request, uses_https(request, trust_proxy))
        # no-cache: the index names the other files, and is asked for at each visit.
        headers = {**PAGE_HEADERS, "Cache-Control": "no-cache"}
        return _response(request, assets.index, headers, vary="Accept, Accept-Encoding")

    async def asset(request: web.Request) -> web.Response:
        file = assets.files.get(request.match_info["name"])
        if file is None or request.match_info["hash"] != assets.hash:
            raise Problem(404, "not a file of this version of the page; load the page again")
        headers = {**ASSET_HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
        return _response(request, file, headers, vary="Accept-Encoding")

    for path in VIEWS:
        router.add_get(path, view)
    router.add_get(f"{ASSETS}{{hash}}/{{name:.+}}", asset)


def _response(request: web.Request, asset: Asset, headers: dict[str, str], vary: str) -> web.Response:
    compressed = accepts_gzip(request.headers.get("Accept-Encoding", ""))
    if compressed:
        headers["Content-Encoding"] = "gzip"
    return web.Response(
        body=asset.compressed if compressed else asset.body,
        headers={**headers, "Content-Type": asset.content_type, "Vary": vary},
    )


def _for_terminal(request: web.Request, https: bool) -> web.Response:
    url = f"{'https' if https else 'http'}://{request.host}"
    text = (
        f"Sparkle-M handler: open {url}/ in a browser.\n"
        f"API: {url}/api/v1/overview and others, described in {url}/docs and {url}/api/v1/openapi.json\n"
    )
    return web.Response(text=text, headers={"Vary": "Accept, Accept-Encoding", **ASSET_HEADERS})
