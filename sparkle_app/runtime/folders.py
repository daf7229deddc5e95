"""Folders that are written to, looked at without making them."""

import os
from pathlib import Path


def blocking_path(folder: Path) -> Path | None:
    """What keeps a folder from being written, or made: a file, or a folder without the right; or None."""
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    return None if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK) else nearest
