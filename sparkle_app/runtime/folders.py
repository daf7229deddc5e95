"""Folders and files: whether a folder can be written to, and how a complete file appears under its name."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

# Of a file system without hard links (vfat, some of FUSE), or of a link that the kernel forbids.
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}


def blocking_path(folder: Path) -> Path | None:
    """The path that prevents creating or writing to a folder: a file, or a folder that is not writable; or None."""
    # Unlike Path.exists(), this raises nothing if a folder above may not be read.
    nearest = next(each for each in (folder, *folder.parents) if os.path.exists(each))
    effective = os.access in os.supports_effective_ids
    writable = os.access(nearest, os.W_OK | os.X_OK, effective_ids=effective)
    return None if nearest.is_dir() and writable else nearest


def publish(draft: Path, path: Path) -> None:
    """Give a complete file its final name, without replacing an existing file as a rename would. The draft remains.

    Without hard links, the content is copied: for a moment the file is incomplete.

    Raises:
        FileExistsError: if there is a file with this name.
        OSError: if the file cannot be created; then there is none.
    """
    try:
        os.link(draft, path)
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, draft.stat().st_mode & 0o777)
    try:
        with os.fdopen(descriptor, "wb") as file, draft.open("rb") as content:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        # Ctrl-C as well: the content may be large.
        path.unlink()
        raise


@contextmanager
def complete_file(path: Path) -> Iterator[BinaryIO]:
    """A new file, which appears under its name, on disk, when the context ends without an error.

    Only its owner can read it. If the process is killed meanwhile, a file remains whose name begins with a dot and ends
    in ``.part``.

    Raises:
        FileExistsError: if there is a file with this name at the end.
        OSError: if the file cannot be created.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            publish(draft, path)
        finally:
            draft.unlink(missing_ok=True)
