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
from sparkle_app.dead_letters.reader import letters_of_last_minute
from sparkle_app.kafka.admin import make_topics
from sparkle_app.kafka.connection import why_not
from sparkle_app.model.errors import StartupFault, TransientFault
from sparkle_app.plugin.discovery import Plugins, no_plugins
from sparkle_app.runtime.folders import in_the_way_of
from sparkle_app.runtime.process import leave
from sparkle_app.storage.engine import make_tables, transient
from sparkle_app.web.port import check_port
from sparkle_app.worker.parts import Parts, build_parts

_SAY_EVERY = 3.0
T = TypeVar("T")

logger = logging.getLogger(__name__)


def begin(settings: Settings, plugins: Plugins, web_bind: str, web_port: int) -> Parts:
    """Check what needs no connection, and build the parts.

    Arguments:
        web_bind: address to listen on; Faust's command line can set it as well.

    Raises:
        StartupFault: naming what is wrong.
    """
    logger.info("settings: %s", " ".join(f"{key}={value}" for key, value in masked(settings)))
    settings.web.require_token(web_bind, "--web-bind")
    check_port(web_bind, web_port)
    for warning in [*plugins.warnings, *plugins.faults]:
        logger.warning("%s", warning)
    if not plugins.installed:
        raise no_plugins(settings.plugins)
    parts = build_parts(settings, plugins.handlers)
    logger.info(
        "plugins: %s; private keys: %d",
        ", ".join(f"{p.name} {p.manifest.version}" for p in plugins.installed.values()),
        len(parts.keyring),
    )
    return parts


async def connect(settings: Settings, plugins: Plugins, engine: Engine) -> int:
    """Wait for the database and the broker, and make the tables and topics that are not there yet.

    Returns:
        How many dead letters any worker sent in the last minute.

    Raises:
        StartupFault: naming what does not answer, or does not fit.
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


def check_data(folder: Path) -> None:
    """The folder of the worker's own files can be written, or made.

    Raises:
        StartupFault: when it cannot.
    """
    if blocking := in_the_way_of(folder):
        raise _data_fault(f"{blocking}, which is {'not to be written' if blocking.is_dir() else 'a file'}")


def make_data(folder: Path) -> None:
    """Make the folder of the worker's own files, or leave with one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        leave(str(_data_fault(f"{folder}: {error.strerror}")))


def _data_fault(found: str) -> StartupFault:
    return StartupFault(
        "data", expected="a folder that can be written", found=found, hint="set SPARKLE_DATA to another"
    )


async def wait_for(what: str, setting: str, seconds: float, attempt: Callable[[], Awaitable[T]]) -> T:
    """What ``attempt`` gives once it raises no TransientFault; with a line every few seconds.

    Raises:
        StartupFault: after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    said = 0.0
    while True:
        try:
            # What hangs is given up as well; a database that hangs does so in a thread.
            return await asyncio.wait_for(attempt(), max(deadline - time.monotonic(), _SAY_EVERY))
        except (TransientFault, TimeoutError) as error:
            fault = error if isinstance(error, TransientFault) else "no answer"
            now = time.monotonic()
            if now >= deadline:
                raise StartupFault(
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
        await asyncio.to_thread(make_tables, engine)
    except (SQLAlchemyError, OSError) as error:
        raise transient(error) from error


async def _reach_broker(settings: Settings, plugins: Plugins) -> int:
    specs = plugins.topic_specs(settings.app_id, settings.aggregates.bucket_seconds)
    await make_topics(settings.broker, specs)
    try:
        return await letters_of_last_minute(settings)
    except (KafkaError, OSError) as error:
        raise TransientFault(await why_not(settings.broker, error)) from error
