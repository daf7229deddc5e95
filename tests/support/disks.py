"""Real file systems that are small, and how to fill them."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_file_system(options: str = "size=16m") -> Iterator[Path]:
    """A new file system in memory to which everybody may write. Skips the test where it cannot be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="sparkle-disk-"))
    if os.geteuid() or subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"{options},mode=777", "tmpfs", folder], check=False
    ).returncode:  # fmt: skip
        folder.rmdir()
        pytest.skip("needs root and the permission to mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
    folder.rmdir()


def fill(ballast: Path, free: int = 0) -> None:
    """Write a file until at most this many bytes are free."""
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            found = os.statvfs(ballast)
            if found.f_bavail * found.f_frsize < max(free, 1):
                return
            file.write(bytes(4096))
