"""What a worker does before it takes its first record: check what it needs, wait for it, make what it writes to."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from aiokafka.errors import KafkaError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from sparkle_app.config.settings import Settings, database_url, masked
from sparkle_app.dead_letters.reader import count_recent_dead_letters
from sparkle_app.kafka.admin import create_topics
from sparkle_app.kafka.connection import explain_failure
from sparkle_app.model.errors import ConfigurationError, TransientError
from sparkle_app.plugin.discovery import InstalledPlugins, no_plugins
from sparkle_app.runtime.folders import blocking_path
from sparkle_app.runtime.process import exit_process
from sparkle_app.storage.engine import create_tables
from sparkle_app.storage.errors import transient_error
from sparkle_app.web.port import check_port
from sparkle_app.worker.parts import Parts, build_parts

_SAY_EVERY = 3.0
T = TypeVar("T")

logger = logging.getLogger(__name__)


def build(settings: Settings, plugins: InstalledPlugins, web_bind: str, web_port: int) -> Parts:
    """Check what needs no connection, and build the parts.

    Arguments:
        web_bind: address to listen on; Faust's command line can set it as well.

    Raises:
        ConfigurationError: naming what is wrong.
    """
    logger.info("settings: %s", " ".join(f"{key}={value}" for key, value in masked(settings)))
    settings.web.require_token(web_bind, "--web-bind")
    check_port(web_bind, web_port)
    for warning in [*plugins.warnings, *plugins.faults]:
        logger.warning("%s", warning)
    if not plugins.installed:
        raise no_plugins(settings.plugins)
    parts = build_parts(settings, plugins.by_name)
    logger.info(
        "plugins: %s; private keys: %d",
        ", ".join(f"{p.name} {p.manifest.version}" for p in plugins.installed.values()),
        len(parts.keyring),
    )
    return parts


async def connect(settings: Settings, plugins: InstalledPlugins, engine: Engine) -> int:
    """Wait for the database and the broker, and make the tables and topics that are not there yet.

    Returns:
        How many dead letters any worker sent in the last minute.

    Raises:
        ConfigurationError: naming what does not answer, or does not fit.
    """
    url = database_url(settings).render_as_string(hide_password=True)
    await wait_for(
        f"the database at {url}",
        "database.url",
        settings.database.wait_seconds,
        lambda: _reach_database(engine),
    )
    return await wait_for(
        f"the broker at {settings.broker.url}",
        "broker.url",
        settings.broker.wait_seconds,
        lambda: _reach_broker(settings, plugins),
    )


def check_data_folder(folder: Path) -> None:
    """The folder of the worker's own files can be written, or made.

    Raises:
        ConfigurationError: when it cannot.
    """
    if blocking := blocking_path(folder):
        raise _data_fault(f"{blocking}, which is {'not to be written' if blocking.is_dir() else 'a file'}")


def create_data_folder(folder: Path) -> None:
    """Make the folder of the worker's own files, or exit_process with one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        exit_process(str(_data_fault(f"{folder}: {error.strerror}")))


def _data_fault(found: str) -> ConfigurationError:
    return ConfigurationError(
        "data", expected="a folder that can be written", found=found, hint="set SPARKLE_DATA to another"
    )


async def wait_for(what: str, setting: str, seconds: float, attempt: Callable[[], Awaitable[T]]) -> T:
    """What ``attempt`` gives once it raises no TransientError; with a line every few seconds.

    Raises:
        ConfigurationError: after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    said = 0.0
    while True:
        try:
            # What hangs is given up as well; a database that hangs does so in a thread.
            return await asyncio.wait_for(attempt(), max(deadline - time.monotonic(), _SAY_EVERY))
        except (TransientError, TimeoutError) as error:
            fault = error if isinstance(error, TransientError) else "no answer"
            now = time.monotonic()
            if now >= deadline:
                raise ConfigurationError(
                    setting,
                    expected=f"{what} within {seconds:g} s",
                    found=str(fault),
                    hint="start it, or correct the setting",
                ) from error
            if now - said >= _SAY_EVERY:
                said = now
                logger.warning("waiting for %s, up to %.0f s more: %s", what, deadline - now, fault)
        await asyncio.sleep(0.5)


async def _reach_database(engine: Engine) -> None:
    try:
        await asyncio.to_thread(create_tables, engine)
    except (SQLAlchemyError, OSError) as error:
        raise transient_error(error) from error


async def _reach_broker(settings: Settings, plugins: InstalledPlugins) -> int:
    specs = plugins.topic_specs(settings.app_id, settings.aggregates.bucket_seconds)
    await create_topics(settings.broker, specs)
    try:
        return await count_recent_dead_letters(settings)
    except (KafkaError, OSError) as error:
        raise TransientError(await explain_failure(settings.broker, error)) from error
