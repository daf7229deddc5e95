"""Unpacking an archive, which must not write outside its folder."""

import tarfile
from collections.abc import Iterable
from pathlib import Path


def unpack(archive: tarfile.TarFile, folder: Path, members: Iterable[tarfile.TarInfo] | None = None) -> None:
    """Extract all members, or these.

    Raises:
        tarfile.TarError: when one of them is neither a file nor a folder, or would be written outside ``folder``.
    """
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, members, filter="data")
        return
    # Python 3.11.0 to 3.11.3 has no filters.
    chosen = list(archive if members is None else members)
    for member in chosen:
        inside = (folder / member.name).resolve().is_relative_to(folder.resolve())
        if not inside or not (member.isfile() or member.isdir()):
            raise tarfile.ExtractError(
                f"{member.name!r}: expected a file or folder inside the archive's folder"
            )
    archive.extractall(folder, chosen)
