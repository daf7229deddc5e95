"""The disk watchdog: logs when a file system to which the worker writes is nearly full, before it is full."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sparkle_app.config.settings import Settings, database_url
from sparkle_app.runtime.disks import MAX_PERCENT, DiskUsage, disk_usage, one_per_disk
from sparkle_app.runtime.logging import log_files
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.storage.engine import write_ahead_log

POLL_SECONDS = 60.0
REMINDER_SECONDS = 3600.0
# Around the limit, the size of SQLite's write-ahead log would cause a line each minute.
_END_PERCENT = MAX_PERCENT - 1

logger = logging.getLogger(__name__)


class DiskWatchdog:
    """What to log about disks that are nearly full.

    Arguments:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reported_at: dict[Path, float] = {}

    def poll(self, disks: Sequence[DiskUsage]) -> Iterator[str]:
        """The lines to log. Must be called every POLL_SECONDS."""
        now = self._clock()
        for disk in disks:
            reported_at = self._reported_at.get(disk.path)
            if disk.warning and (reported_at is None or now - reported_at >= REMINDER_SECONDS):
                self._reported_at[disk.path] = now
                yield disk.warning
            elif reported_at is not None and disk.percent < _END_PERCENT:
                del self._reported_at[disk.path]
                yield f"{disk.path}: {disk.percent:.0f} % in use again"


def database_folder(settings: Settings) -> Path | None:
    """The folder of the database; None if it has a server, whose disk cannot be seen from here."""
    wal = write_ahead_log(database_url(settings))
    return wal.database.parent if wal else None


def written_folders(settings: Settings) -> list[Path]:
    """One folder for each file system to which a worker writes."""
    database = database_folder(settings)
    folders = [*([database] if database else []), settings.data, *(file.parent for file in log_files())]
    return one_per_disk(folders)


async def watch_disks(folders: Sequence[Path], metrics: Metrics, warnings: dict[str, str]) -> None:
    """Poll as long as the worker runs.

    Arguments:
        folders: one on each file system.
        warnings: gets what is nearly full, and loses it when it is over.
    """
    watchdog = DiskWatchdog()
    while True:
        # In a thread: a network file system may not answer.
        found = [await asyncio.to_thread(disk_usage, folder) for folder in folders]
        disks = [disk for disk in found if disk]
        for disk in disks:
            metrics.disk(disk)
        for line in watchdog.poll(disks):
            logger.warning("%s", line)
        warnings.pop("disk", None)
        if nearly_full := "; ".join(disk.warning for disk in disks if disk.warning):
            warnings["disk"] = nearly_full
        await asyncio.sleep(POLL_SECONDS)
