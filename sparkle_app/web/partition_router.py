"""Sends window queries, and other requests, to the workers that own the partitions.

They authenticate with a secret that all workers derive from the internal key: a token of a user does not replace it.
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


Result = TypeVar("Result")
_decoder = msgspec.json.Decoder(PartialResult)


class WorkersSecret:
    """The secret of requests between workers.

    Arguments:
        cipher: that of the internal key; without one, there are no other workers.
    """

    def __init__(self, cipher: Cipher | None) -> None:
        self._value = f"Bearer {cipher.secret(b'requests between workers').hex()}" if cipher else ""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request to another worker."""
        return {hdrs.AUTHORIZATION: self._value} if self._value else {}

    def verify(self, request: web.Request) -> None:
        """Check that another worker sent a request.

        Raises:
            Problem: 401, if none did.
        """
        found = request.headers.get(hdrs.AUTHORIZATION, "").encode("utf-8", "surrogateescape")
        if not self._value or not hmac.compare_digest(found, self._value.encode("ascii")):
            raise Problem(
                401,
                "Authorization: expected the secret of the workers: all of them need the same certs/internal_key",
                {"WWW-Authenticate": "Bearer"},
            )


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
        try:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                self._parts.http.post(
                    URL(url) / path.lstrip("/"),
                    data=msgspec.json.encode(query),
                    headers=self._secret.headers,
                    ssl=self._tls,
                    # It would be sent the secret.
                    allow_redirects=False,
                ) as response,
            ):
                body = await response.read()
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
            return decoder.decode(body)
        except msgspec.DecodeError as error:
            raise unavailable(f"the worker at {url} runs another version; upgrade all workers") from error
