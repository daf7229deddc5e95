"""The Faust application, which builds the parts of a worker when it starts."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, cast

import faust
from faust.sensors.prometheus import setup_prometheus_sensors
from faust.transport.consumer import Consumer

from sparkle_app.aggregate.table import BucketTable
from sparkle_app.config.settings import Settings, database_url
from sparkle_app.dead_letters.publisher import DeadLetterPublisher
from sparkle_app.ingest.host_recorder import HostRecorder
from sparkle_app.ingest.key_breaker import KeyBreaker
from sparkle_app.kafka import topology
from sparkle_app.kafka.consumer import BatchingTransport
from sparkle_app.kafka.diagnosis import describe_failure
from sparkle_app.kafka.membership import Membership, TableRecovery
from sparkle_app.kafka.publisher import TopicPublisher
from sparkle_app.kafka.record_batches import MAX_BATCH_RECORDS
from sparkle_app.kafka.topic_configs import TopicState
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.discovery import InstalledPlugins
from sparkle_app.retention.retainer import retainers
from sparkle_app.runtime.cause_limit import CauseLimit
from sparkle_app.runtime.clock import WallClock
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.runtime.process import exit_process
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.storage.engine import write_ahead_log
from sparkle_app.web.health import HealthChecker
from sparkle_app.web.parts import WebParts
from sparkle_app.web.routing import add_routes
from sparkle_app.web.tls import Certificate
from sparkle_app.worker import startup
from sparkle_app.worker.broker_watchdog import watch
from sparkle_app.worker.clock_watchdog import watch_clock
from sparkle_app.worker.disk_watchdog import watch_disks, written_folders
from sparkle_app.worker.faust_options import faust_options
from sparkle_app.worker.host_watch import watch_hosts
from sparkle_app.worker.key_watchdog import watch_keys
from sparkle_app.worker.parts import Connected, Parts
from sparkle_app.worker.readiness import log_ready
from sparkle_app.worker.recovery_watchdog import watch_recovery
from sparkle_app.worker.retention_watch import RetentionWatch
from sparkle_app.worker.shutdown import start_shutdown_timeout
from sparkle_app.worker.topic_watch import watch_topics
from sparkle_app.worker.wal_watchdog import watch_wal
from sparkle_app.worker.web_driver import LimitedWeb

HOSTS_SECONDS = 3.0
"""How long a worker that stops waits until its hosts are recorded."""

logger = logging.getLogger(__name__)


class SparkleApp(faust.App):
    """The Faust application.

    It connects to nothing, and reads no key, before a worker starts.

    Raises:
        ConfigurationError: if a file of ``broker.tls`` cannot be used.
    """

    def __init__(self, settings: Settings, plugins: InstalledPlugins) -> None:
        super().__init__(settings.app_id, **faust_options(settings))
        self.settings = settings
        self.plugins = plugins
        self.metrics = Metrics()
        self.group = Membership(self)
        self.clock = WallClock()
        self.breaker = KeyBreaker(settings.dead_letters.hold_undecryptable)
        self._parts: Parts | None = None
        self._connected: Connected | None = None
        self._warnings: dict[str, str] = {}
        names = plugins.installed
        self.metrics.expose(
            plugins.topics,
            [topology.samples_topic(settings.app_id, name) for name in names],
            names,
            lambda: self.group.complete and self.group.in_session,
        )
        setup_prometheus_sensors(self, "/metrics", self.metrics.registry, name_prefix="faust")
        self.on_rebalance_complete.connect(self.pause_flow, weak=False)

    @property
    def parts(self) -> Parts:
        """The parts of the worker, which exist once it has started."""
        assert self._parts, "the worker has not been started"
        return self._parts

    @property
    def connected(self) -> Connected:
        """What the worker has built after it connected to the database and the broker."""
        assert self._connected, "the worker has not been started"
        return self._connected

    @property
    def buckets(self) -> Mapping[str, BucketTable]:
        """The bucket tables, by NAME of the plugin."""
        seconds = self.settings.aggregates.bucket_seconds
        tables = cast(Mapping[str, BucketTable], self.tables)
        return {name: tables[topology.table_name(name, seconds)] for name in self.plugins.installed}

    def own_topic(self, name: str) -> Any:
        """A topic of bytes, which the agents decode: Faust silently acknowledges records that it cannot decode."""
        return self.topic(
            name, key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw"
        )

    def publisher(self, topic: str) -> TopicPublisher:
        """A publisher for one of the handler's own topics."""
        return TopicPublisher(self.own_topic(topic), self.connected.topics.max_message_bytes[topic])

    async def pause_flow(self, *_: Any, **__: Any) -> None:
        """Called after recovery: stop fetching until Faust has sought to the committed offsets.

        Faust discards the records that it fetches before that.
        """
        consumer = cast(Consumer, self.consumer)
        if consumer.flow_active:
            consumer.stop_flow()

    def _new_transport(self) -> BatchingTransport:
        # By name, since Faust creates its transport before the tables exist.
        app_id, seconds = self.settings.app_id, self.settings.aggregates.bucket_seconds
        changelogs = [topology.changelog_topic(app_id, name, seconds) for name in self.plugins.installed]
        return BatchingTransport(
            self.conf.broker_consumer,
            self,
            batched_topics=[*self.plugins.topics, *changelogs],
            max_batch_records=min(MAX_BATCH_RECORDS, self.settings.ingest.batch_size),
            count_expired=lambda topic, number: self.metrics.expired.labels(topic).inc(number),
        )

    def _new_web(self) -> LimitedWeb:
        return LimitedWeb(self)

    async def on_first_start(self) -> None:
        """Build the parts, wait for database and broker, create tables and topics; exit with one line if this fails."""
        settings = self.settings
        try:
            startup.create_data_folder(settings.data)
            await super().on_first_start()
            self._parts = startup.build(settings, self.plugins, self.conf.web_bind, self.conf.web_port)
            certificate = (
                Certificate(self._parts.tls, settings.web.tls, self._warnings) if self._parts.tls else None
            )
            cipher, topics = await startup.connect(settings, self.plugins, self._parts.engine)
        except ConfigurationError as error:
            exit_process(str(error))
        web = cast(LimitedWeb, self.web)
        web.tls = self._parts.tls
        for table in self.buckets.values():
            table.max_message_bytes = topics.max_message_bytes[table.changelog_topic_name]
        web_parts = self._web_parts(self._parts, cipher)
        # Before Faust starts the web server, which then accepts no more routes.
        add_routes(web.web_app.router, web_parts)
        self._connected = Connected(
            cipher=cipher,
            topics=topics,
            dead_letters=self._dead_letters(cipher, topics),
            hosts=HostRecorder(self._parts.engine, self._parts.writers, self.clock.now),
            health=HealthChecker(web_parts),
            certificate=certificate,
        )

    def _web_parts(self, parts: Parts, cipher: Cipher) -> WebParts:
        return WebParts(
            settings=self.settings,
            plugins=self.plugins.installed,
            tables=self.buckets,
            group=self.group,
            metrics=self.metrics,
            keyring=parts.keyring,
            cipher=cipher,
            breaker=self.breaker,
            clock=self.clock,
            http=self.http_client,
            engine=parts.engine,
            readers=parts.readers,
            warnings=self._warnings,
        )

    def _dead_letters(self, cipher: Cipher, topics: TopicState) -> DeadLetterPublisher:
        topic = topology.dead_letter_topic(self.settings.app_id)
        return DeadLetterPublisher(
            TopicPublisher(self.own_topic(topic), topics.max_message_bytes[topic]),
            CauseLimit(self.settings.dead_letters.per_cause),
            self.metrics,
            cipher,
        )

    async def on_started(self) -> None:
        """Start the watchdogs, which run during recovery as well."""
        explain = partial(describe_failure, self.settings.broker)
        self.add_future(watch(self.group, self.settings.broker.url, explain))
        self.add_future(log_ready(self.group, self.connected.health.check))
        self.add_future(watch_keys(self.breaker, self.parts.pool, self.group))
        self.add_future(watch_clock(self.clock, self.group))
        self.add_future(watch_disks(written_folders(self.settings), self.metrics, self._warnings))
        if self.connected.certificate:
            self.add_future(self.connected.certificate.watch())
        if wal := write_ahead_log(database_url(self.settings)):
            self.add_future(watch_wal(wal, self.metrics, self._warnings))
        self.add_future(watch_recovery(TableRecovery(self)))
        self.add_future(self.connected.hosts.run())
        self.add_future(
            watch_hosts(
                self.parts.engine, self.parts.readers, self.clock, self.metrics, self.plugins.installed
            )
        )
        self.add_future(self._retention().run())
        self.add_future(watch_topics(self.settings.broker, self.connected.topics.names, self.group))
        await super().on_started()

    def _retention(self) -> RetentionWatch:
        return RetentionWatch(
            retainers(self.settings, self.plugins.by_name, self.parts.engine),
            self.buckets,
            self.parts.engine,
            self.parts.writers,
            self.clock,
            self.metrics,
            self.settings.retention.interval_seconds,
        )

    async def on_stop(self) -> None:
        """Stop within the shutdown timeout, even if the database does not answer."""
        start_shutdown_timeout(lambda: self.crashed)
        await self._write_hosts()
        await super().on_stop()

    async def on_shutdown(self) -> None:
        """Called when the agents have ended, too."""
        # Those of the batches that were in progress.
        await self._write_hosts()
        await super().on_shutdown()

    async def _write_hosts(self) -> None:
        if self._connected:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._connected.hosts.write_all(), HOSTS_SECONDS)
