"""The parts of a worker that the web server uses. It depends neither on the Faust application nor on the worker."""

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

import aiohttp
from sqlalchemy import Engine

from sparkle_app.aggregate.table import BucketTable
from sparkle_app.config.settings import Settings
from sparkle_app.ingest.key_breaker import KeyBreaker
from sparkle_app.plugin.discovery import InstalledPlugin
from sparkle_app.runtime.stages import Stages


class Group(Protocol):
    """This worker's place in the consumer group."""

    @property
    def url(self) -> str:
        """The web address at which other workers reach this one."""

    @property
    def generation(self) -> int:
        """The generation of the consumer group; every rebalance increases it."""

    @property
    def joined(self) -> bool:
        """Whether partitions are assigned to this worker."""

    @property
    def complete(self) -> bool:
        """Whether partitions are assigned to this worker and their tables are recovered."""

    @property
    def in_session(self) -> bool:
        """Whether the last heartbeat is within the session timeout, so that the assignment is still valid."""

    def owners(self, changelog_topic: str) -> Mapping[int, str]:
        """The web address of each partition's owner, for one table."""


@dataclass(frozen=True, kw_only=True)
class WebParts:
    """The parts of a worker that serve requests."""

    settings: Settings
    plugins: Mapping[str, InstalledPlugin]
    """The installed plugins, by NAME."""
    tables: Mapping[str, BucketTable]
    """The bucket tables of the plugins, by NAME."""
    group: Group
    """This worker's place in the consumer group."""
    stages: Stages
    """The stages of this worker's pipelines that are in progress."""
    breaker: KeyBreaker
    """Says whether records are held back for want of a private key."""
    http: aiohttp.ClientSession
    """For requests to other workers."""
    engine: Engine
    """The database."""
    readers: Executor
    """The threads in which requests query the database."""
