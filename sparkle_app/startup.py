"""What a worker does before it takes its first record: check what it needs, wait for it, make what it writes to."""

import asyncio
import gc
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from sparkle_app.broker import why_not
from sparkle_app.broker_topics import make_topics
from sparkle_app.errors import StartupFault, TransientFault
from sparkle_app.folders import in_the_way_of
from sparkle_app.ingest.letters_topic import letters_of_last_minute
from sparkle_app.plugin.discovery import no_plugins
from sparkle_app.retry import leave
from sparkle_app.settings import database_url, masked
from sparkle_app.storage.database import transient
from sparkle_app.storage.models import Base
from sparkle_app.web.port import check_port

if TYPE_CHECKING:
    from sparkle_app.application import SparkleApp

LEAVE_SECONDS = 12
_SAY_EVERY = 3.0
# Any number, the same in every worker: PostgreSQL's name for the lock under which tables are made.
_TABLES_LOCK = 7_275_339

logger = logging.getLogger(__name__)


async def prepare(app: "SparkleApp") -> None:
    """Bring everything into place, or leave with one line that says what is wrong."""
    try:
        settings = app.settings
        logger.info("settings: %s", " ".join(f"{key}={value}" for key, value in masked(settings)))
        settings.web.require_token(app.conf.web_bind, "--web-bind")
        check_port(app.conf.web_bind, app.conf.web_port)
        for warning in [*app.plugins.warnings, *app.plugins.faults]:
            logger.warning("%s", warning)
        if not app.plugins.installed:
            raise no_plugins(settings.plugins)
        logger.info(
            "plugins: %s; private keys: %d",
            ", ".join(f"{p.name} {p.manifest.version}" for p in app.plugins.installed.values()),
            len(app.keyring),
        )
        app.load_internal_key()
        # All that was imported stays: to look through it again and again would halt the event loop for 60 ms.
        gc.collect()
        gc.freeze()
        # Forks, so before anything here runs in a thread.
        app.start_decryption()
        url = database_url(settings).render_as_string(hide_password=True)
        await wait_for(
            f"the database at {url}",
            "database.url",
            settings.database.wait_seconds,
            lambda: make_tables(app.engine),
        )
        await wait_for(
            f"the broker at {settings.broker.url}",
            "broker.url",
            settings.broker.wait_seconds,
            lambda: reach_broker(app),
        )
    except StartupFault as fault:
        leave(str(fault))


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


async def wait_for(what: str, setting: str, seconds: float, attempt: Callable[[], Awaitable[None]]) -> None:
    """Repeat ``attempt`` until it raises no TransientFault, with a line every few seconds.

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


async def make_tables(engine: Engine) -> None:
    """Make the plugins' SQL tables that are not there yet.

    Raises:
        TransientFault: when the database does not answer.
    """

    def make() -> None:
        try:
            with engine.begin() as connection:
                if engine.dialect.name == "postgresql":
                    # Two workers that start together would both find them missing.
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _TABLES_LOCK})
                Base.metadata.create_all(connection)
        except (SQLAlchemyError, OSError) as error:
            raise transient(error) from error

    await asyncio.to_thread(make)


async def reach_broker(app: "SparkleApp") -> None:
    """Make the topics, and learn how many dead letters there were a moment ago.

    Raises:
        TransientFault: when the broker does not answer.
        StartupFault: as :func:`make_topics`.
    """
    await make_topics(app.settings, app.plugins)
    try:
        app.recent_letters = await letters_of_last_minute(app.settings)
    except (KafkaError, OSError) as error:
        raise TransientFault(await why_not(app.settings.broker, error)) from error


def leave_soon(crashed: Callable[[], bool]) -> None:
    """End the process in bounded time, even if a thread hangs in the database; with 1 where it ``crashed``."""

    def watch() -> None:
        time.sleep(LEAVE_SECONDS)
        logger.warning(
            "still not stopped after %d s: leaving; what was not acknowledged will be delivered again",
            LEAVE_SECONDS,
        )
        os._exit(1 if crashed() else 0)

    threading.Thread(target=watch, name="leave-soon", daemon=True).start()
