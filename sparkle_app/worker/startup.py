"""Startup of a worker: check the configuration, wait for database and broker, create tables and topics."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from sparkle_app.config.settings import Settings, database_url, masked
from sparkle_app.config.url_parameters import shown
from sparkle_app.kafka.admin import create_topics, topics_with_messages
from sparkle_app.kafka.topic_configs import TopicState
from sparkle_app.model.errors import ConfigurationError, TransientError
from sparkle_app.plugin.discovery import InstalledPlugins, no_plugins
from sparkle_app.retention.retainer import warnings as retention_warnings
from sparkle_app.runtime.folders import blocking_path
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.internal_key import existing_internal_key, internal_key, lost_internal_key
from sparkle_app.storage.engine import notice
from sparkle_app.storage.errors import is_refused_login, transient_error
from sparkle_app.storage.migrations.migration import create_tables, migrate
from sparkle_app.storage.migrations.schema import OlderSchemaError, Revision
from sparkle_app.web.port import check_port
from sparkle_app.worker.parts import Parts, build_parts

_LOG_SECONDS = 3.0
_MAIN_SETTINGS = (
    "app_id",
    "broker.url",
    "broker.partitions",
    "database.url",
    "certs",
    "plugins",
    "web.host",
    "web.port",
)
T = TypeVar("T")

logger = logging.getLogger(__name__)


def build(settings: Settings, plugins: InstalledPlugins, web_bind: str, web_port: int) -> Parts:
    """Check what needs no connection, and build the parts.

    Arguments:
        web_bind: address to listen on: ``web.host``, unless Faust's command line overrides it.
        web_port: port to listen on.

    Raises:
        ConfigurationError: if the worker cannot work as it is configured.
    """
    _log_settings(settings)
    if text := notice(database_url(settings)):
        logger.warning("%s", text)
    settings.web.require_token(web_bind, "--web-bind")
    check_port(web_bind, web_port)
    for warning in [*plugins.warnings, *plugins.errors]:
        logger.warning("%s", warning)
    for line in [*settings.web.warnings, *retention_warnings(settings, plugins.by_name)]:
        logger.warning("%s", line)
    if not plugins.installed:
        raise no_plugins(settings.plugins)
    parts = build_parts(settings, plugins.by_name)
    logger.info(
        "plugins: %s; private keys: %d",
        ", ".join(f"{p.name} {p.manifest.version}" for p in plugins.installed.values()),
        len(parts.keyring),
    )
    return parts


def _log_settings(settings: Settings) -> None:
    values = dict(masked(settings))
    main = " ".join(f"{key}={values[key]}" for key in _MAIN_SETTINGS)
    logger.info("settings (%s): %s; log_level DEBUG shows all", settings.source, main)
    for key, value in values.items():
        logger.debug("setting %s=%s", key, value)


async def connect(settings: Settings, plugins: InstalledPlugins, engine: Engine) -> tuple[Cipher, TopicState]:
    """Wait for the database and the broker, create missing tables, topics and the internal key, and migrate tables.

    Returns:
        The cipher of sealed messages, and the state of the topics.

    Raises:
        ConfigurationError: if one of them does not answer in time, or does not match the configuration.
    """
    await _prepare_tables(settings, plugins, engine)
    cipher, topics = await wait_for(
        f"the broker at {settings.broker.url}",
        "broker.url",
        settings.broker.wait_seconds,
        lambda: _create_topics(settings, plugins),
    )
    for warning in topics.warnings:
        logger.warning("%s", warning)
    return cipher, topics


def check_data_folder(folder: Path) -> None:
    """Check that the folder for the worker's own files can be created and written to.

    Raises:
        ConfigurationError: if it cannot.
    """
    if blocking := blocking_path(folder):
        raise _unusable_data_folder(
            f"{blocking}, which is {'not writable' if blocking.is_dir() else 'a file'}"
        )


def create_data_folder(folder: Path) -> None:
    """Create the folder for the worker's own files, such as readings in SQLite, for the user of the worker only.

    Raises:
        ConfigurationError: if it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unusable_data_folder(f"{folder}: {error.strerror}") from error


def _unusable_data_folder(found: str) -> ConfigurationError:
    return ConfigurationError(
        "data", expected="a writable folder", found=found, hint="set SPARKLE_DATA to another folder"
    )


async def wait_for(
    what: str,
    setting: str,
    seconds: float,
    attempt: Callable[[], Awaitable[T]],
    *,
    interrupt: bool = True,
) -> T:
    """Repeat ``attempt`` until it does not raise TransientError, and return its result.

    Logs a line every few seconds.

    Arguments:
        what: what it waits for, for the log.
        setting: the setting to name in the error.
        interrupt: whether an attempt that takes longer than ``seconds`` is abandoned.

    Raises:
        ConfigurationError: after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    logged_at = 0.0
    while True:
        try:
            # An attempt that hangs is abandoned; a call to the database then goes on in its thread.
            limit = max(deadline - time.monotonic(), _LOG_SECONDS) if interrupt else None
            return await asyncio.wait_for(attempt(), limit)
        except (TransientError, TimeoutError) as error:
            cause = error if isinstance(error, TransientError) else TransientError("no answer")
            now = time.monotonic()
            if now >= deadline:
                raise ConfigurationError(
                    setting,
                    expected=f"{what} within {seconds:g} s",
                    found=str(cause),
                    hint=cause.hint or "start it, or correct the setting",
                ) from error
            if now - logged_at >= _LOG_SECONDS:
                logged_at = now
                logger.warning("waiting for %s for another %.0f s: %s", what, deadline - now, cause)
        await asyncio.sleep(0.5)


async def _prepare_tables(settings: Settings, plugins: InstalledPlugins, engine: Engine) -> None:
    url = shown(database_url(settings))
    branches = plugins.branches

    async def wait(work: Callable[[], object], *, interrupt: bool) -> None:
        await wait_for(
            f"the database at {url}",
            "database.url",
            settings.database.wait_seconds,
            lambda: _in_database(work, url),
            interrupt=interrupt,
        )

    try:
        await wait(lambda: create_tables(engine, branches), interrupt=True)
    except OlderSchemaError as error:
        if not settings.database.migrate:
            raise
        logger.warning("migrating: expected %s, found %s", error.expected, error.found)
        await wait(
            lambda: migrate(engine, branches, plugins.errors, _log_revision, plugins.readings),
            interrupt=False,
        )
        logger.info("migrated: %s", error.expected)
        await wait(lambda: create_tables(engine, branches), interrupt=True)


def _log_revision(revision: Revision) -> None:
    logger.info("migrating: applying revision %s", revision)


async def _in_database(work: Callable[[], object], url: str) -> None:
    try:
        await asyncio.to_thread(work)
    except (SQLAlchemyError, OSError) as error:
        if is_refused_login(error):
            raise ConfigurationError(
                "database.url",
                expected=f"{url} to accept the user name and the password",
                found=str(transient_error(error)),
                hint="correct them, or create the user in the database",
            ) from error
        raise transient_error(error) from error


async def known_internal_key(settings: Settings, plugins: InstalledPlugins) -> bytes | None:
    """The internal key; None if there is none, nor a message that needs one.

    Before a new key is created: it would replace one that was lost, and can be restored.

    Raises:
        ConfigurationError: when there are messages and no key, or when the file is invalid.
        TransientError: when the broker cannot be used at this moment, and there is no key.
    """
    key = existing_internal_key(settings.certs)
    if key is None:
        specs = plugins.topic_specs(settings.app_id, settings.aggregates.bucket_seconds)
        if sealed := await topics_with_messages(settings.broker, specs):
            raise lost_internal_key(settings.certs, sealed[0])
    return key


async def _create_topics(settings: Settings, plugins: InstalledPlugins) -> tuple[Cipher, TopicState]:
    await known_internal_key(settings, plugins)
    specs = plugins.topic_specs(settings.app_id, settings.aggregates.bucket_seconds)
    topics = await create_topics(settings.broker, specs)
    return Cipher(internal_key(settings.certs)), topics
