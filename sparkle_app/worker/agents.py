"""Creates the application: :func:`create_app` declares its tables and agents."""

from functools import cache
from typing import Any

from faust.types import StreamT

from sparkle_app.aggregate.agent import AggregatePipeline
from sparkle_app.aggregate.aggregator import Aggregator
from sparkle_app.aggregate.table import BucketTable
from sparkle_app.config.settings import Settings, database_url
from sparkle_app.ingest.agent import IngestPipeline
from sparkle_app.ingest.forwarder import Forwarder
from sparkle_app.ingest.sql_writer import SqlWriter
from sparkle_app.kafka import topology
from sparkle_app.kafka.membership import TableRecovery
from sparkle_app.plugin.discovery import InstalledPlugin, load_plugins
from sparkle_app.worker.application import SparkleApp


def create_app(settings: Settings) -> SparkleApp:
    """Create the Faust application: an agent for each plugin topic, a table and an agent for each plugin.

    Raises:
        ConfigurationError: if a file of ``broker.tls`` or the plugins folder cannot be used.
    """
    app = SparkleApp(settings, load_plugins(settings.plugins, database_url(settings)))
    for plugin in app.plugins.installed.values():
        _add_aggregate(app, plugin)
    for topic in app.plugins.topics:
        _add_ingest(app, topic)
    return app


def _add_ingest(app: SparkleApp, topic: str) -> None:
    """Add the ingest agent of a plugin topic."""

    async def ingest(stream: StreamT[Any]) -> None:
        """Decrypts records, stores readings, and forwards samples."""
        settings = app.settings
        plugins = app.plugins.by_name
        samples = {name: app.publisher(topology.samples_topic(settings.app_id, name)) for name in plugins}
        parts = app.parts
        writer = SqlWriter(
            parts.engine,
            plugins,
            parts.writers,
            settings.aggregates.max_metrics_per_host,
            settings.aggregates.bucket_seconds,
            app.clock.now,
        )

        async def forget_metrics(*_: Any, **__: Any) -> None:
            writer.forget_metrics()

        app.on_partitions_assigned.connect(forget_metrics, weak=False)
        pipeline = IngestPipeline(
            parts.pool,
            writer,
            Forwarder(samples, plugins, app.connected.cipher, settings.broker.partitions),
            app.connected.dead_letters,
            app.breaker,
            app.connected.hosts.recent,
            app.connected.cipher,
            app.metrics,
            settings.ingest.batch_size,
            settings.ingest.batch_wait_seconds,
            app.clock.now,
        )
        await pipeline.run(stream)

    app.agent(app.own_topic(topic), name=f"ingest-{topic}", concurrency=1)(ingest)


def _add_aggregate(app: SparkleApp, plugin: InstalledPlugin) -> None:
    """Add the bucket table and the aggregate agent of a plugin."""
    settings = app.settings
    name = plugin.name
    table = BucketTable(
        app,
        name=topology.table_name(name, settings.aggregates.bucket_seconds),
        help=f"Buckets of {name}, from which windows are merged.",
        cipher=lambda: app.connected.cipher,
        host_partitions=settings.broker.partitions,
    )
    app.tables.add(table)

    @cache
    def pipeline() -> AggregatePipeline:
        aggregator = Aggregator(
            name,
            plugin.plugin,
            table,
            app.parts.engine,
            app.parts.writers,
            settings.aggregates.bucket_seconds,
            settings.aggregates.window_retention_seconds,
            app.clock.now,
        )
        return AggregatePipeline(
            app.group,
            TableRecovery(app),
            name,
            table,
            aggregator,
            app.connected.cipher,
            app.metrics,
            settings.aggregates.batch_wait_seconds,
            app.clock.now,
        )

    async def restore() -> None:
        await pipeline().restore()

    async def aggregate(stream: StreamT[Any]) -> None:
        """Counts samples in buckets, and writes the buckets to the table and to SQL."""
        await pipeline().run(stream)

    table.on_recover(restore)
    samples = app.own_topic(topology.samples_topic(settings.app_id, name))
    app.agent(samples, name=f"aggregate-{name}", concurrency=1)(aggregate)
