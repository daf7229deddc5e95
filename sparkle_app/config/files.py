"""Whether a file exists, with an error if that cannot be seen."""

import stat
from pathlib import Path


def is_file(path: Path) -> bool:
    """As ``Path.is_file()``, which from Python 3.14 on is False where a folder may not be read.

    Raises:
        PermissionError: if a folder above may not be read.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except PermissionError:
        raise
    except OSError:
        return False
