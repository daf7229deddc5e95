"""The web servers of several workers in this process: real tables and real HTTP, without Kafka and Faust workers."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from sparkle_app.aggregate.table import BucketTable
from sparkle_app.config.loading import load_settings
from sparkle_app.config.settings import database_url
from sparkle_app.envelope.keyring import Keyring
from sparkle_app.kafka.consumer import PartitionLag
from sparkle_app.kafka.membership import Membership
from sparkle_app.kafka.topology import partition_of
from sparkle_app.model.buckets import Bucket, bucket_start
from sparkle_app.model.sample import Sample
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.internal_key import existing_internal_key
from sparkle_app.storage.engine import make_engine
from sparkle_app.web.parts import WebParts
from sparkle_app.web.routing import add_routes, middlewares
from sparkle_app.worker.agents import create_app
from tests.support.worker import PROJECT

PARTITIONS = 4
BUCKET_SECONDS = 60
SHARED_KEY = bytes(32)
"""The internal key of workers whose folder has none."""
PLUGIN = "Temperature"
_HANDLE_ERROR = web.RequestHandler.handle_error


@dataclass
class Group:
    """The properties of Membership that the web server uses, as set by the test."""

    url: str = "http://127.0.0.1:6066"
    generation: int = 1
    joined: bool = True
    complete: bool = True
    in_session: bool = True
    problem: str = ""
    refusal: str = ""
    urls: dict[int, str] = field(default_factory=dict)
    """The URL of each partition's owner, as known to this worker."""

    lag: list[PartitionLag] = field(default_factory=list)
    """What this worker consumes."""

    def lags(self) -> list[PartitionLag]:
        """As set by the test."""
        return self.lag

    def owners(self, changelog_topic: str) -> Mapping[int, str]:
        """The owners, which are the same for all tables."""
        return self.urls


class InProcessWorker:
    """One worker's web server.

    Arguments:
        folder: the worker's folder, which must not exist.
        settings: lines of its settings.yaml.
        broker: HOST:PORT of a broker, if one is needed.
    """

    running: ClassVar[int] = 0
    """How many have been started and not stopped."""

    def __init__(self, folder: Path, *settings: str, broker: str = "127.0.0.1:9092") -> None:
        folder.mkdir()
        own = f"broker: {{partitions: {PARTITIONS}, url: '{broker}'}}"
        lines = [f"plugins: {PROJECT / 'plugins'}", own, *settings]
        (folder / "settings.yaml").write_text("\n".join(lines))
        self.settings = load_settings(folder / "settings.yaml")
        self.app = create_app(self.settings)
        self.group = Group()
        self.owned: set[int] = set()
        """The partitions that the worker really owns."""
        for table in self.app.buckets.values():
            table.owned = lambda: set(self.owned)  # type: ignore[method-assign]
        self.server: TestServer | None = None

    @property
    def table(self) -> BucketTable:
        """The table of PLUGIN."""
        return self.app.buckets[PLUGIN]

    @property
    def url(self) -> str:
        """The URL of the web server."""
        assert self.server
        return str(self.server.make_url("")).rstrip("/")

    def count(self, hostname: str, *samples: Sample) -> None:
        """Count samples in the table."""
        for sample in samples:
            key = hostname, bucket_start(sample.observed_at, BUCKET_SECONDS)
            packed = self.table.get(key)
            bucket = Bucket.unpack(packed) if packed else Bucket()
            bucket.add(sample)
            self.table[key] = bucket.pack()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen on a free port."""
        InProcessWorker.running += 1
        self.http = aiohttp.ClientSession()
        self.engine = make_engine(database_url(self.settings))
        self.readers = ThreadPoolExecutor(1)
        parts = WebParts(
            settings=self.settings,
            plugins=self.app.plugins.installed,
            tables=self.app.buckets,
            group=cast(Membership, self.group),
            metrics=self.app.metrics,
            keyring=self._keyring(),
            cipher=Cipher(existing_internal_key(self.settings.certs) or SHARED_KEY),
            breaker=self.app.breaker,
            clock=self.app.clock,
            http=self.http,
            engine=self.engine,
            readers=self.readers,
        )
        self.parts = parts
        application = web.Application(middlewares=middlewares(self.settings))
        add_routes(application.router, parts)
        self.server = TestServer(application)
        await self.server.start_server()
        self.group.url = self.url

    def _keyring(self) -> Keyring:
        """The private keys; creating one takes longer than most tests that use no key."""
        certs = self.settings.certs
        return Keyring(certs) if any(certs.glob("rsa_key_*")) else cast(Keyring, None)

    async def stop(self) -> None:
        """Stop the web server, and close its connections."""
        assert self.server
        await self.server.close()
        await self.http.close()
        self.readers.shutdown()
        self.engine.dispose()
        InProcessWorker.running -= 1
        if not InProcessWorker.running:
            # A worker replaces it in its process, which is that of other tests here.
            web.RequestHandler.handle_error = _HANDLE_ERROR  # type: ignore[method-assign]

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Send a GET request; returns the status and the decoded JSON."""
        async with self.http.get(URL(f"{self.url}{path}", encoded=True), headers=headers) as response:
            return response.status, await response.json(content_type=None)


def assign(workers: Sequence[InProcessWorker], *partitions: set[int]) -> None:
    """Rebalance: each worker owns these partitions from now on, and all workers know it."""
    urls = {
        partition: worker.url for worker, mine in zip(workers, partitions, strict=True) for partition in mine
    }
    for worker, mine in zip(workers, partitions, strict=True):
        worker.owned = mine
        worker.group.urls = urls
        worker.group.generation += 1


def holder(workers: Sequence[InProcessWorker], hostname: str) -> InProcessWorker:
    """The worker that owns the partition of a host."""
    partition = partition_of(hostname, PARTITIONS)
    return next(worker for worker in workers if partition in worker.owned)
