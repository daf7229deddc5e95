"""The options of the Faust application."""

import os
import sys
from typing import Any, cast

import click
import faust
from click.core import ParameterSource
from yarl import URL

from sparkle_app.config.settings import Settings
from sparkle_app.kafka import topology
from sparkle_app.kafka.connection import credentials
from sparkle_app.kafka.consumer import HEARTBEAT_SECONDS, SESSION_SECONDS
from sparkle_app.kafka.record_batches import MAX_BUFFERED_BATCHES
from sparkle_app.kafka.timeouts import REQUEST_SECONDS
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.runtime.logging import logging_config
from sparkle_app.web.connections import MAX_BODY_BYTES
from sparkle_app.web.routing import middlewares

# Interval for detecting new partitions of a topic; with the default, their records would wait up to five minutes.
_NEW_PARTITIONS_SECONDS = 20
# The client would leave the group after this time without fetching, and could not join it again: while nothing can be
# stored, a worker does not fetch.
_MAX_IDLE_SECONDS = 10 * 365 * 86_400
# Short names of levels that Faust's command line accepts.
_LEVELS = {"CRIT": "CRITICAL", "WARN": "WARNING"}


class SparkleWorker(faust.Worker):
    """A worker with the handler's logging, and without Faust's spinner, which writes control characters to the log.

    Exits with one line if an option cannot be used.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spinner = None
        conf, settings = self.app.conf, cast(Any, self.app).settings
        # If --web-host or --web-port is given, Faust's command has made it http://HOST:PORT.
        conf.canonical_url = URL(settings.web.url(conf.web_host, conf.web_port))
        file = str(self.logfile) if self.logfile else None
        try:
            _check_options(file)
        except ConfigurationError as error:
            sys.exit(str(error))
        name = str(self.loglevel).upper()
        level = _LEVELS.get(name, name) if _given("loglevel") else None
        config: dict[str, Any] = self.logging_config or {}
        if level or file:
            configured = config["loggers"]["sparkle_app"]["level"]
            self.logging_config = logging_config(level or configured, libraries=level or "WARNING", file=file)

    def _proc_ident(self) -> str:
        # It contains the folder of `data`, whose name need not be valid UTF-8, as the title of a process must be.
        return os.fsencode(super()._proc_ident()).decode(errors="backslashreplace")


def _given(option: str) -> bool:
    """Whether an option was given on the command line: Faust's default, WARN, would hide what ``log_level`` shows."""
    context = click.get_current_context(silent=True)
    while context:
        if context.get_parameter_source(option) is ParameterSource.COMMANDLINE:
            return True
        context = context.parent
    return False


def _check_options(log_file: str | None) -> None:
    if _given("datadir"):
        # The log is not configured yet.
        print("warning: --datadir has no effect; set SPARKLE_DATA, or the setting data", file=sys.stderr)
    if not log_file:
        return
    try:
        with open(log_file, "a", encoding="utf-8"):
            pass
    except OSError as error:
        raise ConfigurationError(
            "--logfile",
            expected="a file to write to",
            found=f"{log_file}: {error.strerror}",
            hint="choose another file, or omit the option to log to standard error",
        ) from error


def faust_options(settings: Settings) -> dict[str, Any]:
    """The options of ``faust.App`` for these settings.

    Raises:
        ConfigurationError: if a file of ``broker.tls`` cannot be used.
    """
    return dict(
        # Otherwise variables with names as general as WEB_PORT and BROKER_URL, which Kubernetes and other programs set,
        # would override the settings.
        env={},
        broker=[f"kafka://{server.strip()}" for server in settings.broker.url.split(",")],
        broker_credentials=credentials(settings.broker),
        datadir=settings.data,
        autodiscover=False,
        store="memory://",
        topic_partitions=settings.broker.partitions,
        topic_replication_factor=settings.broker.replication,
        # startup.connect creates the topics, all with the same number of partitions.
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_buffer_maxsize=MAX_BUFFERED_BATCHES,
        # In a rebalance, Faust would wait indefinitely for pending batches. They are redelivered instead.
        stream_wait_empty=False,
        broker_session_timeout=SESSION_SECONDS,
        broker_heartbeat_interval=HEARTBEAT_SECONDS,
        broker_commit_interval=1.0,
        broker_max_poll_interval=_MAX_IDLE_SECONDS,
        consumer_metadata_max_age_ms=_NEW_PARTITIONS_SECONDS * 1000,
        consumer_auto_offset_reset="earliest",
        producer_acks=-1,
        # The producer would retry for 20 minutes, and log nothing. The stage retries, and logs that it does.
        producer_request_timeout=REQUEST_SECONDS,
        producer_max_request_size=topology.MAX_MESSAGE_BYTES,
        web_bind=settings.web.host,
        web_host=settings.web.host,
        web_port=settings.web.port,
        canonical_url=settings.web_url,
        web_application_options={
            "middlewares": middlewares(settings),
            "client_max_size": MAX_BODY_BYTES,
        },
        web_stats_enabled=False,
        web_graph_enabled=False,
        web_router_enabled=False,
        web_tables_enabled=False,
        web_metrics_enabled=False,
        worker_redirect_stdouts=False,
        Worker=SparkleWorker,
        logging_config=logging_config(settings.log_level),
    )
