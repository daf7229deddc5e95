"""The host watch: counts the hosts that have fallen silent, for Prometheus."""

import asyncio
import logging
from collections.abc import Iterable
from concurrent.futures import Executor

from sqlalchemy import Engine

from sparkle_app.model.time import from_seconds
from sparkle_app.runtime.clock import WallClock
from sparkle_app.runtime.failure_log import FailureLog
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.errors import transient_error
from sparkle_app.storage.host_queries import count_hosts

POLL_SECONDS = 60.0

logger = logging.getLogger(__name__)


async def watch_hosts(
    engine: Engine, readers: Executor, clock: WallClock, metrics: Metrics, plugins: Iterable[str]
) -> None:
    """Count as long as the worker runs. While the database does not answer, the last numbers stay.

    Arguments:
        plugins: the NAMEs of the installed plugins; hosts of others are not counted.
    """

    def count() -> None:
        with read_transaction(engine) as connection:
            numbers = count_hosts(connection, from_seconds(clock.now()))
        for plugin in plugins:
            ok, silent = numbers.get(plugin, (0, 0))
            metrics.hosts.labels(plugin, "ok").set(ok)
            metrics.hosts.labels(plugin, "silent").set(silent)

    failure = FailureLog(logger, "cannot count hosts, will retry")
    while True:
        try:
            await asyncio.get_running_loop().run_in_executor(readers, count)
            failure.succeeded()
        except Exception as error:
            # Nothing depends on the numbers.
            failure.failed(transient_error(error))
        await asyncio.sleep(POLL_SECONDS)
