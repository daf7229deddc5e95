"""Which worker holds a host's buckets, and asking it."""

import asyncio
from collections.abc import Mapping, Sequence

import aiohttp
import msgspec
from yarl import URL

from sparkle_app.model.buckets import Statistics
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, unavailable

INTERNAL_PATH = "/internal/v1/windows"
TIMEOUT_SECONDS = 2.0


class WindowQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one worker asks another: about the buckets of one plugin with ``start <= bucket < end``."""

    plugin: str
    start: int
    end: int
    host: str | None = None
    """Only this host; all hosts if left out."""
    metric: str | None = None
    """Only this metric."""
    limit: int = 0
    """So many hosts a line each, in the order of their names; 0 for none."""
    after: str = ""
    """Lines of hosts after this name only."""


class PartialResult(msgspec.Struct):
    """What one worker knows."""

    partitions: list[int]
    """Those that it holds, and for which this is the whole answer."""
    hosts: int
    """How many hosts have readings in the window."""
    known: bool
    """Whether the host that was asked for is in the table at all."""
    metrics: dict[str, Statistics]
    lines: list[tuple[str, Statistics]]


_decoder = msgspec.json.Decoder(PartialResult)


class PartitionRouter:
    """The workers as the consumer group's last rebalance left them."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts

    def of_plugin(self, plugin: str) -> Mapping[int, str]:
        """The web address of the worker that holds each partition of a plugin's table."""
        return self._parts.group.owners(self._parts.tables[plugin].changelog_topic_name)

    def is_me(self, url: str) -> bool:
        """Whether an address is this worker's own."""
        return URL(url) == URL(self._parts.group.url)

    def hint(self, partials: Sequence[PartialResult]) -> str:
        """Why workers that are all there may not hold everything: two of them give the same address."""
        partitions = self._parts.settings.broker.partitions
        one_url = len({url for plugin in self._parts.tables for url in self.of_plugin(plugin).values()}) == 1
        if one_url and all(0 < len(partial.partitions) < partitions for partial in partials):
            url = self._parts.group.url
            return f"; if all workers run, some have the same address {url}: set web.public_url"
        return ""

    async def ask(self, url: str, query: WindowQuery) -> PartialResult:
        """Ask another worker.

        Raises:
            Problem: 503, when it does not answer in time or cannot answer for sure.
        """
        token = self._parts.settings.web.token
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        try:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                self._parts.http.post(
                    URL(url) / INTERNAL_PATH.lstrip("/"), data=msgspec.json.encode(query), headers=headers
                ) as response,
            ):
                body = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            found = str(error) or f"no answer within {TIMEOUT_SECONDS:g} s"
            raise unavailable(
                f"the worker at {url}, which holds what was asked for, is not there: {found}"
            ) from error
        if response.status == 503:
            raise unavailable(f"the worker at {url} is taking partitions over")
        if response.status != 200:
            raise Problem(
                502, f"the worker at {url} answered {response.status}; do all have the same web.token?"
            )
        return _decoder.decode(body)
