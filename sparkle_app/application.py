"""The one place where the parts are joined: :func:`create_app`."""

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from typing import Any, cast

import faust
from faust.transport.consumer import Consumer
from faust.types import StreamT
from sqlalchemy import Engine

from sparkle_app import startup, topics
from sparkle_app.aggregate.agent import Aggregate
from sparkle_app.aggregate.aggregator import Aggregator
from sparkle_app.aggregate.table import BucketTable
from sparkle_app.broker import credentials
from sparkle_app.bundles import MOST_BUNDLES, MOST_RECORDS
from sparkle_app.consuming import SESSION_SECONDS, CarefulTransport
from sparkle_app.ingest.agent import Ingest
from sparkle_app.ingest.dead_letters import DeadLetterOffice
from sparkle_app.ingest.forwarding import Forwarder
from sparkle_app.ingest.opening import Opener
from sparkle_app.ingest.storing import ReadingStore
from sparkle_app.log import logging_config
from sparkle_app.metrics import Metrics
from sparkle_app.plugin.discovery import InstalledPlugin, load_plugins
from sparkle_app.settings import Settings, database_url
from sparkle_app.storage.database import make_engine
from sparkle_app.watching import watch
from sparkle_app.web.pages import add_pages, middlewares
from sparkle_app.wire.decrypting import decrypt_each
from sparkle_app.wire.keyring import Keyring, internal_key
from sparkle_app.wire.multibuffer import multibuffer_or_each
from sparkle_app.wire.sealing import Sealer

logger = logging.getLogger(__name__)
# So that one slow statement does not hold up the others.
_DATABASE_THREADS = 8
_HEARTBEAT_SECONDS = 5
# A topic that gets more partitions is looked at so often; by default records would wait there for five minutes.
_NEW_PARTITIONS_SECONDS = 20


class QuietWorker(faust.Worker):
    """A worker without Faust's spinner, whose control characters would stand in logs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spinner = None


class SparkleApp(faust.App):
    """The Faust application, with the parts that its agents, pages and commands share."""

    settings: Settings

    def join(self, settings: Settings) -> None:
        """Make the parts. Nothing is connected, and no secret is read, before it is used."""
        self.settings = settings
        self.metrics = Metrics()
        self.plugins = load_plugins(settings.plugins)
        self.buckets: dict[str, BucketTable] = {}
        self.recent_letters = 0
        self.database_threads = ThreadPoolExecutor(_DATABASE_THREADS, thread_name_prefix="database")

    @cached_property
    def engine(self) -> Engine:
        """The database."""
        return make_engine(database_url(self.settings))

    @cached_property
    def writers(self) -> ThreadPoolExecutor:
        """The threads of ingest and aggregates that talk to the database.

        One for SQLite, which lets one write at a time: who has to wait there looks again seldom, and may starve.
        """
        number = 1 if self.engine.dialect.name == "sqlite" else _DATABASE_THREADS
        return ThreadPoolExecutor(number, thread_name_prefix="writer")

    def load_internal_key(self) -> None:
        """Read the key of internal topics, or make it; a StartupFault where that cannot be done."""
        _ = self.sealer

    def start_decryption(self) -> None:
        """Fork the processes that decrypt; to be called before anything runs in a thread."""
        _ = self.opener

    @cached_property
    def keyring(self) -> Keyring:
        """The private keys; a StartupFault where there are none."""
        return Keyring(self.settings.certs)

    @cached_property
    def opener(self) -> Opener:
        """What decrypts, for all topics."""
        wanted = self.settings.ingest
        if wanted.multibuffer:
            decrypt = multibuffer_or_each()
        else:
            decrypt = decrypt_each
            logger.info("decrypting one reading at a time: ingest.multibuffer is false")
        return Opener(self.keyring, self.plugins.handlers, wanted.processes, decrypt)

    @cached_property
    def sealer(self) -> Sealer:
        """Seals internal topics; a StartupFault where its key cannot be read."""
        return Sealer(internal_key(self.settings.certs))

    @cached_property
    def office(self) -> DeadLetterOffice:
        """One for all topics: what is limited is what a worker sends."""
        return DeadLetterOffice(
            self.own_topic(topics.dead_letter_topic(self.settings.app_id)),
            self.settings.dead_letters.per_minute,
            self.metrics,
            recent=self.recent_letters,
        )

    def own_topic(self, name: str) -> Any:
        """A topic whose records the handler decodes itself: Faust acknowledges unseen what it cannot decode."""
        return self.topic(
            name, key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw"
        )

    async def hold_flow(self, *_: Any, **__: Any) -> None:
        """Called when tables are recovered: fetch nothing until Faust has gone back to the committed offsets.

        What it fetches before that is thrown away.
        """
        consumer = cast(Consumer, self.consumer)
        if consumer.flow_active:
            consumer.stop_flow()

    def _new_transport(self) -> CarefulTransport:
        settings = self.settings
        changelogs = [
            topics.changelog_topic(settings.app_id, name, settings.aggregates.bucket_seconds)
            for name in self.plugins.installed
        ]
        return CarefulTransport(
            self.conf.broker_consumer,
            self,
            bundled_topics=[*self.plugins.topics, *changelogs],
            largest_bundle=min(MOST_RECORDS, settings.ingest.batch_size),
        )

    async def on_first_start(self) -> None:
        """Wait for what the worker needs, and make what it writes to."""
        startup.make_data(self.settings.data)
        await super().on_first_start()
        await startup.prepare(self)

    async def on_started(self) -> None:
        """Look after the broker, also while tables are recovered."""
        self.add_future(watch(self))
        await super().on_started()

    @property
    def complete(self) -> bool:
        """Whether the worker has its partitions, and their tables are recovered."""
        return bool(self.tables.actives_ready and not self.rebalancing and not self.in_recovery)

    async def on_stop(self) -> None:
        """Leave in bounded time, whatever the database does: redelivery does the rest."""
        startup.leave_soon(lambda: self.crashed)
        await super().on_stop()


def create_app(settings: Settings) -> SparkleApp:
    """The Faust application for these settings.

    Raises:
        StartupFault: when a file of ``broker.tls`` cannot be used.
    """
    app = SparkleApp(
        settings.app_id,
        broker=[f"kafka://{server.strip()}" for server in settings.broker.url.split(",")],
        broker_credentials=credentials(settings.broker),
        datadir=settings.data,
        autodiscover=False,
        store="memory://",
        topic_partitions=settings.broker.partitions,
        topic_replication_factor=settings.broker.replication,
        # Every topic is created by startup.prepare, with one number of partitions.
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_buffer_maxsize=MOST_BUNDLES,
        # A batch that is under way when partitions change hands is delivered again; waiting for it could be endless.
        stream_wait_empty=False,
        broker_session_timeout=SESSION_SECONDS,
        broker_heartbeat_interval=_HEARTBEAT_SECONDS,
        broker_commit_interval=1.0,
        consumer_metadata_max_age_ms=_NEW_PARTITIONS_SECONDS * 1000,
        consumer_auto_offset_reset="earliest",
        producer_acks=-1,
        producer_max_request_size=topics.LARGEST_MESSAGE,
        web_bind=settings.web.host,
        web_host=settings.web.host,
        web_port=settings.web.port,
        canonical_url=settings.web_url,
        web_application_options={"middlewares": middlewares(settings)},
        web_stats_enabled=False,
        web_graph_enabled=False,
        web_router_enabled=False,
        web_tables_enabled=False,
        web_metrics_enabled=False,
        worker_redirect_stdouts=False,
        Worker=QuietWorker,
        logging_config=logging_config(settings.log_level),
    )
    app.join(settings)
    app.on_rebalance_complete.connect(app.hold_flow, weak=False)
    for plugin in app.plugins.installed.values():
        _add_aggregate(app, plugin)
    for topic in app.plugins.topics:
        _add_ingest(app, topic)
    add_pages(app)
    return app


def _add_ingest(app: SparkleApp, topic: str) -> None:
    """One agent for each topic that collectors send to."""

    async def ingest(stream: StreamT[Any]) -> None:
        """Decrypts records, stores raw readings, and forwards them to the aggregates."""
        settings = app.settings
        handlers = app.plugins.handlers
        samples = {name: app.own_topic(topics.samples_topic(settings.app_id, name)) for name in handlers}
        way = Ingest(
            app.opener,
            ReadingStore(app.engine, handlers, app.writers),
            Forwarder(samples, handlers, app.sealer, settings.broker.partitions),
            app.office,
            app.sealer,
            app.metrics,
            settings.ingest.batch_size,
            settings.ingest.batch_wait_seconds,
        )
        await way.run(stream)

    app.agent(app.own_topic(topic), name=f"ingest-{topic}", concurrency=1)(ingest)


def _add_aggregate(app: SparkleApp, plugin: InstalledPlugin) -> None:
    """One table and one agent for each plugin's aggregates."""
    settings = app.settings
    name = plugin.name
    table = BucketTable(
        app,
        name=topics.table_name(name, settings.aggregates.bucket_seconds),
        help=f"Buckets of {name}: what the rolling windows are merged from.",
        sealer=lambda: app.sealer,
        host_partitions=settings.broker.partitions,
    )
    app.tables.add(table)
    app.buckets[name] = table

    @cache
    def way() -> Aggregate:
        aggregator = Aggregator(
            plugin.handler,
            table,
            app.engine,
            app.writers,
            settings.aggregates.bucket_seconds,
            settings.aggregates.horizon_seconds,
        )
        return Aggregate(
            app, name, table, aggregator, app.sealer, app.metrics, settings.aggregates.flush_seconds
        )

    async def restore() -> None:
        await way().restore()

    async def aggregate(stream: StreamT[Any]) -> None:
        """Counts stored readings in buckets of event time, in the table and in SQL."""
        await way().run(stream)

    table.on_recover(restore)
    samples = app.own_topic(topics.samples_topic(settings.app_id, name))
    app.agent(samples, name=f"aggregate-{name}", concurrency=1)(aggregate)
