"""Sends window queries, and other requests, to the workers that own the partitions.

They authenticate with a secret that all workers derive from the internal key: a token of a user does not replace it. A
request contains not the secret but a MAC: whoever joins the consumer group, and so gets requests, cannot make others.
"""

import asyncio
import hmac
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

import aiohttp
import msgspec
from aiohttp import hdrs, web
from yarl import URL

from sparkle_app.model.buckets import Statistics
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, unavailable
from sparkle_app.web.tls import client_context

INTERNAL_PATH = "/internal/v1/windows"
TIMEOUT_SECONDS = 5.0
"""More than the windows of all hosts of a worker take, while it computes them in slices."""
MAX_RESPONSE_BYTES = 16 * 1024 * 1024
"""Of another worker. A page of lines with the longest names has half of it, 50,000 metrics of a plugin as well."""


class WindowQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    """A window query from one worker to another, over the buckets of one plugin with ``start <= bucket < end``."""

    plugin: str
    start: int
    end: int
    host: str | None = None
    """Only this host; None: all hosts."""


class PartialResult(msgspec.Struct):
    """One worker's contribution to a window query."""

    partitions: list[int]
    """The partitions that the worker owns and that this result covers."""
    hosts: int
    """Number of hosts that have readings in the window."""
    known: bool
    """Whether the requested host has any bucket in the table."""
    metrics: dict[str, Statistics]
    """The statistics of the requested hosts together, by metric."""


SCHEME = "Sparkle-HMAC-SHA256"
"""The scheme of the header Authorization."""
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What is raised for bytes that are no JSON of the expected type."""
Result = TypeVar("Result")
_decoder = msgspec.json.Decoder(PartialResult)


class WorkersSecret:
    """The secret of requests between workers.

    Arguments:
        cipher: that of the internal key.
    """

    def __init__(self, cipher: Cipher) -> None:
        self._secret = cipher.secret(b"requests between workers")

    def headers(self, url: str, path: str, body: bytes) -> dict[str, str]:
        """The headers of a request to another worker.

        Arguments:
            url: at which the other worker is reached, as it advertises it.
        """
        return {hdrs.AUTHORIZATION: self._credentials(url, path, body)}

    async def body(self, request: web.Request, url: str) -> bytes:
        """The body of a request that another worker sent.

        Arguments:
            url: that this worker advertises.

        Raises:
            Problem: 401, if no worker sent it, or to another URL; 408, if it does not come in time.
        """
        found = request.headers.get(hdrs.AUTHORIZATION, "")
        # Whoever has no secret is not waited for.
        if found.startswith(SCHEME):
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    body = await request.read()
            except TimeoutError:
                raise Problem(408, f"body: expected within {TIMEOUT_SECONDS:g} s") from None
            expected = self._credentials(url, request.path, body).encode("ascii")
            if hmac.compare_digest(found.encode("utf-8", "surrogateescape"), expected):
                return body
        raise Problem(
            401,
            "Authorization: expected the credentials of another worker for this URL; all workers need the same"
            " certs/internal_key",
            {"WWW-Authenticate": SCHEME},
        )

    def _credentials(self, url: str, path: str, body: bytes) -> str:
        signed = b"\0".join((str(URL(url)).encode(), path.encode(), body))
        return f"{SCHEME} {hmac.digest(self._secret, signed, 'sha256').hex()}"


class PartitionRouter:
    """Knows which worker owns a partition since the last rebalance, and queries other workers."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._secret = WorkersSecret(parts.cipher)
        authorities = parts.settings.web.tls.authorities
        self._tls = client_context(authorities) if authorities else True

    def owners(self, plugin: str) -> Mapping[int, str]:
        """The web address of each partition's owner, for the table of a plugin."""
        return self._parts.group.owners(self._parts.tables[plugin].changelog_topic_name)

    def is_local(self, url: str) -> bool:
        """Whether an address is that of this worker."""
        return URL(url) == URL(self._parts.group.url)

    def address_hint(self, covered: Sequence[Collection[int]]) -> str:
        """A hint for the error message when workers seem to advertise the same address, otherwise nothing.

        Arguments:
            covered: the partitions of each worker's result.
        """
        partitions = self._parts.settings.broker.partitions
        one_url = len({url for plugin in self._parts.tables for url in self.owners(plugin).values()}) == 1
        if one_url and all(0 < len(own) < partitions for own in covered):
            url = self._parts.group.url
            return f"; if all workers are running, several of them advertise the address {url}: set web.public_url"
        return ""

    async def query(self, url: str, query: WindowQuery) -> PartialResult:
        """Send a query to another worker.

        Raises:
            Problem: as :meth:`post`.
        """
        return await self.post(url, INTERNAL_PATH, query, _decoder)

    async def post(
        self, url: str, path: str, query: msgspec.Struct, decoder: "msgspec.json.Decoder[Result]"
    ) -> Result:
        """Send a query to another worker.

        Raises:
            Problem: 503, when it does not respond in time, cannot give an exact result or has another key; 502, when it
                responds with an unexpected status.
        """
        body = msgspec.json.encode(query)
        try:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                self._parts.http.post(
                    URL(url) / path.lstrip("/"),
                    data=body,
                    headers={
                        # No worker compresses, and what is compressed could be of any size.
                        hdrs.ACCEPT_ENCODING: "identity",
                        **self._secret.headers(url, path, body),
                    },
                    auto_decompress=False,
                    ssl=self._tls,
                    allow_redirects=False,
                ) as response,
            ):
                answer = await _limited(response, url)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            reason = str(error) or f"timeout after {TIMEOUT_SECONDS:g} s"
            raise unavailable(
                f"no response from the worker at {url}, which owns the requested partitions: {reason}"
            ) from error
        if response.status == 503:
            raise unavailable(f"the worker at {url} is rebalancing, or the plugin is not installed there")
        if response.status in {401, 403}:
            raise unavailable(
                f"the worker at {url} runs another version, or has another certs/internal_key: upgrade all workers,"
                " and copy the file to all of them"
            )
        if response.status != 200:
            raise Problem(502, f"the worker at {url}: expected status 200, found {response.status}")
        try:
            return decoder.decode(answer)
        except DECODE_ERRORS as error:
            raise unavailable(f"the worker at {url} runs another version; upgrade all workers") from error


async def _limited(response: aiohttp.ClientResponse, url: str) -> bytes:
    """The body of a response: whoever joins the consumer group may send one of any size."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            raise unavailable(
                f"the worker at {url}: expected a response of at most {MAX_RESPONSE_BYTES // 2**20} MiB, found a longer"
                " one"
            )
    return bytes(body)
