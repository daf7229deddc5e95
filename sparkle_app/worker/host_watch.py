"""The host watch: counts the hosts that have fallen silent, for Prometheus."""

import asyncio
import logging
from concurrent.futures import Executor

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from sparkle_app.model.time import from_seconds
from sparkle_app.runtime.clock import WallClock
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.errors import transient_error
from sparkle_app.storage.hosts import count_hosts

POLL_SECONDS = 60.0

logger = logging.getLogger(__name__)


async def watch_hosts(engine: Engine, readers: Executor, clock: WallClock, metrics: Metrics) -> None:
    """Count as long as the worker runs. While the database does not answer, the last numbers stay."""

    def count() -> None:
        with read_transaction(engine) as connection:
            for (plugin, silent), number in count_hosts(connection, from_seconds(clock.now())).items():
                metrics.hosts.labels(plugin, "silent" if silent else "ok").set(number)

    while True:
        try:
            await asyncio.get_running_loop().run_in_executor(readers, count)
        except SQLAlchemyError as error:
            logger.warning("hosts cannot be counted: %s", transient_error(error))
        await asyncio.sleep(POLL_SECONDS)
