"""The WAL watchdog: keeps SQLite's write-ahead log small, and logs when a reader prevents it."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection

from sparkle_app.runtime.metrics import Metrics
from sparkle_app.storage.wal import UNKNOWN, Checkpoint, WriteAheadLog, process_name

POLL_SECONDS = 1.0
REMINDER_SECONDS = 300.0
CHECKPOINT_BYTES = 128_000_000
"""A larger WAL is truncated: twice the size at which SQLite itself begins to copy it to the database."""
MAX_BYTES = 256_000_000
"""A WAL that stays larger is reported."""
GRACE_SECONDS = 10.0
MAX_WAIT_SECONDS = 5.0

logger = logging.getLogger(__name__)


class WalWatchdog:
    """Decides when to truncate the WAL, and what to log about it.

    Arguments:
        wal: the write-ahead log.
        clock: seconds, monotonic.
        name: returns the name of a process.
    """

    def __init__(
        self,
        wal: WriteAheadLog,
        clock: Callable[[], float] = time.monotonic,
        name: Callable[[int], str] = process_name,
    ) -> None:
        self._wal = wal
        self._clock = clock
        self._name = name
        self._copied = 0
        self._above_since: float | None = None
        self._reported_at: float | None = None
        self._readers: frozenset[tuple[int, int]] = frozenset()
        self.size = 0
        """In bytes, at the last poll."""
        self.warning = ""
        """What has been reported, without the name of the file; empty if nothing is wrong."""

    def poll(self) -> str | None:
        """Must be called every POLL_SECONDS. If readers overlap, writers may have to wait, for a second at first.

        Returns:
            The line to log, or None.
        """
        error = ""
        if self._wal.size() > CHECKPOINT_BYTES:
            error = self._truncate().error
        self.size, now = self._wal.size(), self._clock()
        if self.size <= MAX_BYTES:
            since, self._above_since = self._above_since, None
            if self._reported_at is None or since is None:
                return None
            self._reported_at, self.warning = None, ""
            return f"{self._wal.path}: {_megabytes(self.size)} again after {now - since:.0f} s"
        # A reader that is found each time has kept its transaction: others come and go.
        found = self._wal.readers()
        if self._above_since is None:
            self._above_since, self._readers = now, found
        self._readers &= found
        due = self._above_since + GRACE_SECONDS
        if self._reported_at is not None:
            due = self._reported_at + REMINDER_SECONDS
        if now < due:
            return None
        self._reported_at = now
        cause = f"checkpoints fail ({error})" if error else ""
        duration = f", for {now - self._above_since:.0f} s"
        self.warning = too_large(self._wal, self._readers, duration, cause, self._name)
        return f"{self._wal.path}: {self.warning}"

    def _truncate(self) -> Checkpoint:
        done = self._wal.checkpoint()
        # If nothing could be copied since the last poll, the same reader still holds an old snapshot: it would be
        # useless to make writers wait for it.
        if done.complete or done.pages not in (self._copied, UNKNOWN):
            self._copied = done.pages
            # Readers that overlap may need longer while the machine is busy. The more the WAL has grown, the more it is
            # worth.
            return self._wal.truncate(min(self._wal.size() / MAX_BYTES, MAX_WAIT_SECONDS))
        return done


def too_large(
    wal: WriteAheadLog,
    readers: Collection[tuple[int, int]],
    duration: str = "",
    cause: str = "",
    name: Callable[[int], str] = process_name,
) -> str:
    """What is wrong with a WAL that is larger than MAX_BYTES, and what to do.

    Arguments:
        readers: as :meth:`WriteAheadLog.readers`.
        cause: empty: a reader.
        name: returns the name of a process.
    """
    processes = sorted({pid for pid, _ in readers if pid > 0})
    named = ", ".join(f"{pid} ({name(pid) or 'unknown'})" for pid in processes)
    reader = "a reader keeps its transaction open; terminate it"
    if not processes:
        reader += f"; `fuser -v {wal.database}` lists the processes that use the file"
    else:
        reader += f": process {named}"
    found = f"expected at most {_megabytes(MAX_BYTES)} of WAL, found {_megabytes(wal.size())}{duration}"
    return f"{found}: {cause or reader}"


async def watch_wal(wal: WriteAheadLog, metrics: Metrics, warnings: dict[str, str]) -> None:
    """Poll as long as the worker runs.

    Arguments:
        warnings: gets what is wrong, and loses it when it is over.
    """
    watchdog = WalWatchdog(wal)
    while True:
        line = await asyncio.to_thread(watchdog.poll)
        metrics.wal_bytes.set(watchdog.size)
        if line:
            logger.warning("%s", line)
        if watchdog.warning:
            warnings["wal"] = watchdog.warning
        else:
            warnings.pop("wal", None)
        await asyncio.sleep(POLL_SECONDS)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
