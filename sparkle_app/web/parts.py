"""The parts of a worker that the web server uses. It depends neither on the Faust application nor on the worker."""

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

import aiohttp
from sqlalchemy import Engine

from sparkle_app.aggregate.table import BucketTable
from sparkle_app.config.settings import Settings
from sparkle_app.envelope.keyring import Keyring
from sparkle_app.ingest.key_breaker import KeyBreaker
from sparkle_app.kafka.membership import Membership
from sparkle_app.plugin.discovery import InstalledPlugin
from sparkle_app.runtime.clock import WallClock
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.web.slices import Slices
from sparkle_app.web.thread_limit import ThreadLimit

QUERY_THREADS = 6
"""In which requests query the database, at most. Recounts take one more at most."""
MAX_QUERIES = 100
"""In progress or waiting: with more, a request would take longer than its client waits."""


def _queries() -> ThreadLimit:
    return ThreadLimit("queries of the database", QUERY_THREADS, MAX_QUERIES)


@dataclass(frozen=True, kw_only=True)
class WebParts:
    """The parts of a worker that serve requests."""

    settings: Settings
    plugins: Mapping[str, InstalledPlugin]
    """The installed plugins, by NAME."""
    tables: Mapping[str, BucketTable]
    """The bucket tables of the plugins, by NAME."""
    group: Membership
    """This worker's place in the consumer group."""
    metrics: Metrics
    """This worker's Prometheus metrics, and the stages of its pipelines that are in progress."""
    keyring: Keyring
    """The private keys."""
    cipher: Cipher
    """Decrypts the causes of dead letters, and signs requests between workers."""
    breaker: KeyBreaker
    """Says whether records are held back for want of a private key."""
    clock: WallClock
    """The time of day."""
    http: aiohttp.ClientSession
    """For requests to other workers."""
    engine: Engine
    """The database."""
    readers: Executor
    """The threads in which requests query the database."""
    queries: ThreadLimit = field(default_factory=_queries)
    """Limits the queries in these threads."""
    warnings: Mapping[str, str] = field(default_factory=dict)
    """By component: what needs attention before it stops the worker."""
    slices: Slices = field(default_factory=Slices)
    """For what would block the event loop."""
