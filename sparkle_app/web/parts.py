"""What the web is given; it knows neither Faust's application nor how a worker is built."""

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

import aiohttp
from sqlalchemy import Engine

from sparkle_app.aggregate.table import BucketTable
from sparkle_app.config.settings import Settings
from sparkle_app.plugin.discovery import InstalledPlugin


class Group(Protocol):
    """This worker's place in the consumer group."""

    @property
    def url(self) -> str:
        """Where other workers reach this one."""

    @property
    def generation(self) -> int:
        """Of the consumer group; it grows with each rebalance."""

    @property
    def joined(self) -> bool:
        """Whether the group has given this worker partitions."""

    @property
    def complete(self) -> bool:
        """Whether this worker has its partitions, and their tables are recovered."""

    @property
    def in_session(self) -> bool:
        """Whether the partitions are surely still this worker's."""

    def owners(self, changelog_topic: str) -> Mapping[int, str]:
        """The web address of the worker that holds each partition of a table."""


@dataclass(frozen=True, kw_only=True)
class WebParts:
    """The parts of a worker that requests are answered from."""

    settings: Settings
    plugins: Mapping[str, InstalledPlugin]
    """The installed plugins by NAME."""
    tables: Mapping[str, BucketTable]
    """Each plugin's buckets by NAME."""
    group: Group
    """This worker and the others."""
    http: aiohttp.ClientSession
    """Asks other workers."""
    engine: Engine
    """The database."""
    readers: Executor
    """The threads in which requests read from the database."""
