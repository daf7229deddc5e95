"""How full file systems are, counting what a process without privileges can use."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

MAX_PERCENT = 90.0
"""Of the space or the inodes: from here on, a file system is nearly full."""
StatVfs = Callable[[Path], os.statvfs_result]


@dataclass(frozen=True)
class DiskUsage:
    """The usage of the file system that contains a folder."""

    path: Path
    """The folder."""
    size: int
    """Bytes, used or free; what is reserved for root is neither."""
    free: int
    """Bytes."""
    inodes: int
    """Used or free; 0 if the file system has no limit."""
    free_inodes: int

    @property
    def percent(self) -> float:
        """What is used of the space or of the inodes, whichever is more."""
        return max(_percent(self.size, self.free), _percent(self.inodes, self.free_inodes))

    @property
    def warning(self) -> str:
        """What is nearly full, and what to do; empty if nothing is."""
        limit = f"expected less than {MAX_PERCENT:g} %"
        if (percent := _percent(self.size, self.free)) >= MAX_PERCENT:
            used, size, free = (_gigabytes(each) for each in (self.size - self.free, self.size, self.free))
            return (
                f"{self.path}: {limit} of the disk in use, found {percent:.0f} %: {used} of {size}, {free} free;"
                " add space, or delete what is not needed: when the disk is full, nothing is stored"
            )
        if (percent := _percent(self.inodes, self.free_inodes)) >= MAX_PERCENT:
            return (
                f"{self.path}: {limit} of the inodes in use, found {percent:.0f} %: {self.inodes - self.free_inodes}"
                f" of {self.inodes}; delete small files that are not needed: without inodes, no file can be created"
            )
        return ""


def disk_usage(folder: Path, statvfs: StatVfs = os.statvfs) -> DiskUsage | None:
    """The usage of the file system on which a folder is, or will be created; None if the system does not tell."""
    try:
        found = statvfs(_nearest(folder))
    except OSError:
        return None
    # f_frsize is the unit of the numbers of blocks. What is free for root only is neither used nor free.
    return DiskUsage(
        folder,
        (found.f_blocks - found.f_bfree + found.f_bavail) * found.f_frsize,
        found.f_bavail * found.f_frsize,
        found.f_files - found.f_ffree + found.f_favail if found.f_files else 0,
        found.f_favail if found.f_files else 0,
    )


def one_per_disk(folders: Iterable[Path]) -> list[Path]:
    """The first of these folders on each file system, as absolute paths."""
    found: dict[int, Path] = {}
    for folder in folders:
        found.setdefault(_nearest(folder).stat().st_dev, folder.absolute())
    return list(found.values())


def _nearest(folder: Path) -> Path:
    """The folder, or the first one above it that exists."""
    absolute = folder.absolute()
    return next(each for each in (absolute, *absolute.parents) if os.path.exists(each))


def _percent(size: int, free: int) -> float:
    return 100 * (size - free) / size if size else 0.0


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
