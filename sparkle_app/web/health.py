"""Is this worker at work? For supervisors."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
from sqlalchemy import text

from sparkle_app.storage.engine import read_transaction
from sparkle_app.web.parts import WebParts

_CACHE_SECONDS = 2.0
_TIMEOUT_SECONDS = 2.0


class Live(msgspec.Struct):
    """The answer of /health/live."""

    live: bool


class Health(msgspec.Struct):
    """The answer of /health/ready."""

    ready: bool
    checks: dict[str, str]
    """ok, or what is missing."""


class HealthChecker:
    """Looks at the worker's broker, tables and database."""

    def __init__(self, parts: WebParts) -> None:
        self._group = parts.group
        self._engine = parts.engine
        self._database = "not asked yet"
        self._checked_at = -_CACHE_SECONDS
        self._running: asyncio.Future[str] | None = None
        # Of its own: a database that hangs must not be asked by all threads that others wait for.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="health")

    async def check(self) -> Health:
        """What is there, and what is not."""
        group = self._group
        joined = "ok" if group.joined else "joining the consumer group"
        checks = {
            "broker": joined if group.in_session else "does not answer",
            "tables": "ok" if group.complete else "taking partitions over",
            "database": await self._check_database(),
        }
        return Health(all(found == "ok" for found in checks.values()), checks)

    async def _check_database(self) -> str:
        # Kept for a moment: whoever asks often must not load the database.
        if time.monotonic() - self._checked_at >= _CACHE_SECONDS:
            self._checked_at = time.monotonic()
            if self._running is None or self._running.done():
                self._running = asyncio.get_running_loop().run_in_executor(self._thread, self._select)
            try:
                self._database = await asyncio.wait_for(asyncio.shield(self._running), _TIMEOUT_SECONDS)
            except TimeoutError:
                self._database = f"no answer within {_TIMEOUT_SECONDS:g} s"
        return self._database

    def _select(self) -> str:
        try:
            with read_transaction(self._engine) as connection:
                connection.execute(text("SELECT 1"))
        except Exception as error:
            return f"does not answer ({type(error).__name__})"
        return "ok"
