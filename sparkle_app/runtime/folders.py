"""Checks whether a folder can be written to, without creating it."""

import os
from pathlib import Path


def blocking_path(folder: Path) -> Path | None:
    """The path that prevents creating or writing to a folder: a file, or a folder that is not writable; or None."""
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    return None if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK) else nearest
