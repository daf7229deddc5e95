"""The style sheet of the pages, named by its hash."""

from hashlib import sha256
from pathlib import Path

from aiohttp import web

from sparkle_app.web.authentication import LOGIN_PATH
from sparkle_app.web.security_headers import ASSET_HEADERS

_STYLE = Path(__file__).with_name("style.css").read_bytes()
STYLE_PATH = f"{LOGIN_PATH}/{sha256(_STYLE).hexdigest()[:16]}.css"


async def style(_request: web.Request) -> web.Response:
    """The style sheet."""
    return web.Response(
        body=_STYLE,
        content_type="text/css",
        charset="utf-8",
        headers={**ASSET_HEADERS, "Cache-Control": "public, max-age=31536000, immutable"},
    )
