"""The retention watch: one worker for each plugin merges its hours and days, and deletes what has expired."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from typing import TypeVar

from sqlalchemy import Engine

from sparkle_app.aggregate.table import BucketTable
from sparkle_app.model.time import from_seconds
from sparkle_app.retention.retainer import Retainer
from sparkle_app.retention.steps import Action, Step
from sparkle_app.runtime.clock import WallClock
from sparkle_app.runtime.failure_log import FailureLog
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.runtime.terminal import counted
from sparkle_app.storage.engine import space_warning
from sparkle_app.storage.errors import transient_error

_LEADER_PARTITION = 0
T = TypeVar("T")

logger = logging.getLogger(__name__)


class RetentionWatch:
    """Runs retention every few minutes.

    The owner of a plugin's first partition does so. During a rebalance there may be two, which does no harm.

    Arguments:
        retainers: by NAME of the plugin.
        tables: the bucket tables, by NAME of the plugin.
        engine: the database.
        writers: threads that write to it.
        interval: seconds between two runs.
        elapsed: seconds, monotonic.
    """

    def __init__(
        self,
        retainers: Mapping[str, Retainer],
        tables: Mapping[str, BucketTable],
        engine: Engine,
        writers: Executor,
        clock: WallClock,
        metrics: Metrics,
        interval: float,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._retainers = retainers
        self._tables = tables
        self._engine = engine
        self._writers = writers
        self._clock = clock
        self._metrics = metrics
        self._interval = interval
        self._elapsed = elapsed
        self._failures = {
            name: FailureLog(logger, f"{name}: retention failed, will retry") for name in retainers
        }
        self._warned = False
        for name in retainers:
            self._complete(name)

    async def run(self) -> None:
        """Run as long as the worker runs."""
        while True:
            # Workers that start at once do not run at once.
            await asyncio.sleep(self._interval * random.uniform(0.5, 1.0))
            for name, retainer in self._retainers.items():
                if not self._is_leader(name):
                    # Another worker reports how long ago the last run was.
                    self._complete(name)
                elif not self._clock.in_doubt:
                    await self._retain(name, retainer)

    async def _retain(self, name: str, retainer: Retainer) -> None:
        try:
            if await self._apply(name, retainer):
                self._complete(name)
                if self._failures[name].succeeded():
                    logger.info("%s: retention succeeded again", name)
        except Exception as error:
            # The next run continues.
            self._metrics.retention_failures.labels(name).inc()
            self._failures[name].failed(transient_error(error))

    async def _apply(self, name: str, retainer: Retainer) -> bool:
        """Run each step; returns whether all of them have been run."""
        steps = retainer.run(from_seconds(self._clock.now()))
        rows = dict.fromkeys(Action, 0)
        try:
            while step := await self._in_thread(lambda: _next(steps)):
                rows[step.action] += step.rows
                if step.action is not Action.VACUUM:
                    self._metrics.retained(name, step.action, step.rows)
                if not self._is_leader(name):
                    return False
                await asyncio.sleep(step.pause)
        finally:
            # ValueError: the worker stops while a thread executes a step.
            with suppress(ValueError):
                steps.close()
            if rows[Action.DELETE]:
                logger.info("%s: retention deleted %s", name, counted(rows[Action.DELETE], "row"))
        if rows[Action.DELETE] and not self._warned:
            self._warned = True
            if warning := await self._in_thread(lambda: space_warning(self._engine)):
                logger.warning("%s", warning)
        return True

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writers, work)

    def _is_leader(self, name: str) -> bool:
        return _LEADER_PARTITION in self._tables[name].owned()

    def _complete(self, name: str) -> None:
        self._metrics.retention_complete(name, self._elapsed)


def _next(steps: Iterator[Step]) -> Step | None:
    # StopIteration cannot leave a thread of an executor.
    return next(steps, None)
