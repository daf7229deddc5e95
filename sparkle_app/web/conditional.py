"""Responses with an entity tag: a client that has the present one gets status 304 without a body (RFC 9110, 13.1.2)."""

from hashlib import blake2b

import msgspec
from aiohttp import ETag, web

from sparkle_app.web.encoding import encode
from sparkle_app.web.slices import Slices


class Tagged:
    """A response that many clients get. It is encoded once.

    Arguments:
        body: must not be modified.
    """

    def __init__(self, body: msgspec.Struct) -> None:
        self._body = body
        self._encoded: tuple[bytes, str] | None = None

    async def response(self, request: web.Request, slices: Slices) -> web.Response:
        """The response to a request."""
        if self._encoded is None:
            encoded = await encode(self._body, slices)
            self._encoded = encoded, blake2b(encoded, digest_size=16).hexdigest()
        encoded, tag = self._encoded
        # no-cache: a cache must ask before each use.
        headers = {"Cache-Control": "private, no-cache"}
        if request.if_none_match and ETag(tag) in {ETag(each.value) for each in request.if_none_match}:
            found = web.Response(status=304, headers=headers)
        else:
            found = web.Response(body=encoded, content_type="application/json", headers=headers)
        found.etag = tag
        return found
