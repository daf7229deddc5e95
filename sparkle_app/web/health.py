"""Health checks for supervisors and load balancers."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
from sqlalchemy import text

from sparkle_app.storage.engine import read_transaction
from sparkle_app.web.parts import WebParts

_CACHE_SECONDS = 2.0
_TIMEOUT_SECONDS = 2.0
STAGE_SECONDS = 10.0
"""A batch that has been in one stage for longer is not processed at this moment."""


class Live(msgspec.Struct):
    """The response of /health/live."""

    live: bool


class Health(msgspec.Struct, omit_defaults=True):
    """The response of /health/ready."""

    ready: bool
    checks: dict[str, str] = {}
    """By component: ok, or the reason why it is not. Absent in the response to an unauthorized request."""
    warnings: dict[str, str] = {}
    """By component: what needs attention, although the worker is ready. Absent if there is nothing, and likewise."""


class HealthChecker:
    """Checks the worker's broker, tables, database, pipelines, private keys and clock."""

    def __init__(self, parts: WebParts) -> None:
        self._group = parts.group
        self._engine = parts.engine
        self._stages = parts.metrics.stages
        self._breaker = parts.breaker
        self._clock = parts.clock
        self._warnings = parts.warnings
        self._database = "not checked yet"
        self._checked_at = -_CACHE_SECONDS
        self._running: asyncio.Future[str] | None = None
        # A thread of its own: a database that hangs must not block the threads that serve other requests.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="health")

    async def check(self) -> Health:
        """Check all components."""
        group = self._group
        joined = "ok" if group.joined else "joining the consumer group"
        checks = {
            "broker": group.problem or joined
            if group.in_session
            else group.refusal or "no heartbeat within the session timeout",
            "tables": "ok" if group.complete else "rebalance or recovery in progress",
            "database": await self._check_database(),
            "pipelines": self._stages.delayed(STAGE_SECONDS) or "ok",
            "private keys": self._breaker.state or "ok",
            "clock": "the system clock jumped; see the log" if self._clock.in_doubt else "ok",
        }
        return Health(all(state == "ok" for state in checks.values()), checks, dict(self._warnings))

    async def _check_database(self) -> str:
        # Cached: frequent probes must not load the database.
        if time.monotonic() - self._checked_at >= _CACHE_SECONDS:
            self._checked_at = time.monotonic()
            if self._running is None or self._running.done():
                self._running = asyncio.get_running_loop().run_in_executor(self._thread, self._select)
            try:
                self._database = await asyncio.wait_for(asyncio.shield(self._running), _TIMEOUT_SECONDS)
            except TimeoutError:
                self._database = f"no response within {_TIMEOUT_SECONDS:g} s"
        return self._database

    def _select(self) -> str:
        try:
            with read_transaction(self._engine) as connection:
                connection.execute(text("SELECT 1"))
        except Exception as error:
            return f"query failed ({type(error).__name__})"
        return "ok"
