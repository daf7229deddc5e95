"""Responses made of snapshots: their age, and an entity tag, so that no client gets the one that it has."""

import asyncio
import gzip
from collections.abc import Coroutine
from hashlib import blake2b
from typing import Any, Protocol, cast

import msgspec
from aiohttp import ETag, hdrs, web
from aiohttp.helpers import ETAG_ANY

from sparkle_app.model.time import from_seconds, parse_instant, whole_seconds
from sparkle_app.runtime.clock import WallClock
from sparkle_app.web.encoding import encode
from sparkle_app.web.negotiation import accepts_gzip
from sparkle_app.web.slices import Slices

MIN_COMPRESSED = 10_000
"""Bytes; fewer are not compressed."""
_GZIP_LEVEL = 5
_Representation = tuple[bytes, str]
"""What is sent, and its entity tag."""


class Made(Protocol):
    """A struct: the body of a response that was made of a snapshot."""

    made_at: str
    """When the worker began to make it, RFC 3339."""


def age(made_at: str, clock: WallClock) -> dict[str, str]:
    """The header that says how old the response is (RFC 9111, 5.1), also with status 304."""
    seconds = whole_seconds(from_seconds(clock.now()) - parse_instant(made_at))
    return {hdrs.AGE: str(max(seconds, 0))}


class Tagged:
    """A response that many clients get. It is encoded once, and compressed once, however many ask at the same time.

    A client that has the present one gets status 304 without a body (RFC 9110, 13.1.2). ``made_at`` is no part of what
    its entity tag identifies, which is therefore a weak one.

    Arguments:
        body: must not be modified.
    """

    def __init__(self, body: Made) -> None:
        self.made_at = body.made_at
        self._body: Made | None = body
        self._encoding: asyncio.Task[_Representation] | None = None
        self._compressing: asyncio.Task[_Representation] | None = None

    async def encoded(self, slices: Slices) -> bytes:
        """The JSON."""
        return (await self._plain(slices))[0]

    async def response(self, request: web.Request, slices: Slices) -> web.Response:
        """The response to a request."""
        # no-cache: a cache must ask before each use.
        headers = {"Cache-Control": "private, no-cache", hdrs.VARY: hdrs.ACCEPT_ENCODING}
        data, tag = await self._plain(slices)
        if len(data) > MIN_COMPRESSED and accepts_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
            if self._compressing is None:
                self._compressing = asyncio.create_task(_compressed(data, tag))
            data, tag = await asyncio.shield(self._compressing)
            headers[hdrs.CONTENT_ENCODING] = "gzip"
        # An asterisk stands for whatever there is.
        if {tag, ETAG_ANY} & {each.value for each in request.if_none_match or ()}:
            headers.pop(hdrs.CONTENT_ENCODING, None)
            found = web.Response(status=304, headers=headers)
        else:
            found = web.Response(body=data, content_type="application/json", headers=headers)
        found.etag = ETag(tag, is_weak=True)
        return found

    async def _plain(self, slices: Slices) -> _Representation:
        if self._encoding is None:
            assert self._body is not None
            self._encoding = asyncio.create_task(
                _encoded(encode(cast(msgspec.Struct, self._body), slices), self.made_at)
            )
            self._body = None
        # One of those who wait may be cancelled: the others still wait for the result.
        return await asyncio.shield(self._encoding)


async def _encoded(encoding: Coroutine[Any, Any, bytes], made_at: str) -> _Representation:
    data = await encoding
    tagged = data.replace(f'"made_at":"{made_at}"'.encode(), b"", 1)
    return data, blake2b(tagged, digest_size=16).hexdigest()


async def _compressed(data: bytes, tag: str) -> _Representation:
    compressed = await asyncio.get_running_loop().run_in_executor(None, gzip.compress, data, _GZIP_LEVEL)
    return compressed, f"{tag}-gzip"
