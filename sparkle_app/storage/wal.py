"""The write-ahead log (WAL) of an SQLite file: its size, checkpoints, and the processes that read.

A commit appends to the WAL, a checkpoint copies it to the database. Commits begin at its start again only when all
of it has been copied and no transaction reads it. SQLite's own checkpoints do not wait for that moment: while
transactions overlap, however short they are, the WAL grows without limit.
"""

import os
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

# For another checkpoint, which SQLite does not wait for.
_MAX_WAIT_SECONDS = 0.5
_RETRY_SECONDS = 0.02
_LOCKS = Path("/proc/locks")
# Bytes of the file -shm that a transaction locks while it reads (https://www.sqlite.org/walformat.html, "WAL locks").
_READ_LOCKS = range(123, 128)
UNKNOWN = -1


@dataclass(frozen=True)
class Checkpoint:
    """The result of a checkpoint."""

    pages: int
    """Pages of the WAL that have been copied to the database; UNKNOWN if it did not take place."""
    complete: bool
    """Whether this is all of it."""
    error: str = ""
    """Why it failed; empty if it did not."""


class WriteAheadLog:
    """The WAL of one database file.

    Arguments:
        database: the database file, which need not exist yet.
    """

    def __init__(self, database: Path) -> None:
        self.database = database
        self.path = Path(f"{database}-wal")

    def size(self) -> int:
        """Its size in bytes; 0 if there is none."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def checkpoint(self) -> Checkpoint:
        """Copy as much as possible to the database, without making writers wait."""
        return self._checkpoint("PASSIVE", _MAX_WAIT_SECONDS)

    def truncate(self, seconds: float) -> Checkpoint:
        """Wait at most ``seconds`` for the transactions that read, then empty the WAL. Writers wait meanwhile."""
        return self._checkpoint("TRUNCATE", seconds)

    def readers(self) -> frozenset[tuple[int, int]]:
        """Process id and lock of each other process that reads at this moment; empty if the system does not tell.

        A transaction keeps its lock until it ends.
        """
        try:
            # Never open -shm itself: closing it would release the locks of this process.
            status = Path(f"{self.database}-shm").stat()
            lines = _LOCKS.read_text().splitlines()
        except OSError:
            return frozenset()
        file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        found = set()
        for line in lines:
            # 1: POSIX  ADVISORY  READ 4711 fe:00:9988332 124 124; an arrow instead of POSIX is a process that waits.
            kind, _, mode, pid, inode, first, last = (line.split()[1:] + [""] * 7)[:7]
            if kind != "POSIX" or mode != "READ" or inode != file or int(pid) == os.getpid():
                continue
            end = max(_READ_LOCKS) if last == "EOF" else int(last)
            found |= {(int(pid), lock) for lock in _READ_LOCKS if int(first) <= lock <= end}
        return frozenset(found)

    def _checkpoint(self, mode: str, seconds: float) -> Checkpoint:
        url = f"{self.database.absolute().as_uri()}?mode=rw"
        deadline = time.monotonic() + seconds
        try:
            with closing(sqlite3.connect(url, uri=True, timeout=seconds)) as connection:
                while True:
                    found = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
                    busy, pages, copied = found
                    # Another checkpoint was running, such as that of a commit.
                    if copied != UNKNOWN or time.monotonic() >= deadline:
                        return Checkpoint(copied, not busy and pages == copied)
                    time.sleep(_RETRY_SECONDS)
        except sqlite3.Error as error:
            return Checkpoint(UNKNOWN, False, str(error))


def process_name(pid: int) -> str:
    """The name of a process; empty if there is none, or the system does not tell."""
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""
