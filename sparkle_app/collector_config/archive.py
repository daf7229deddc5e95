"""Writes the config archive, config.tar.xz."""

import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from sparkle_app.plugin.manifest import Manifest

# Tests, and what editors and Python leave in a plugin's folder, are not needed on a host.
_EXCLUDED_NAMES = {"__pycache__", "tests", "test"}
_EXCLUDED_SUFFIXES = (".pyc", ".pyo", "~", ".orig", ".swp", ".bak")


def write_archive(
    file: BinaryIO, config: dict[str, Any], public_key: bytes, plugins: Sequence[Manifest]
) -> None:
    """Write a config archive.

    Arguments:
        file: the archive, open for writing.
        config: content of config.yaml.
        public_key: PEM.
        plugins: the plugins to include.
    """
    with tarfile.open(fileobj=file, mode="w:xz") as archive:
        _add(archive, "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode())
        _add(archive, "rsa_key.pub", public_key)
        for plugin in plugins:
            for path in _files(plugin.folder):
                name = f"plugins/{plugin.folder.name}/{path.relative_to(plugin.folder).as_posix()}"
                _add(archive, name, path.read_bytes(), int(path.stat().st_mtime))


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if (
            path.name.startswith(".")
            or path.name in _EXCLUDED_NAMES
            or path.name.endswith(_EXCLUDED_SUFFIXES)
        ):
            continue
        if path.is_dir():
            yield from _files(path)
        elif not (path.name.startswith("test_") and path.suffix == ".py"):
            yield path


def _add(archive: tarfile.TarFile, name: str, content: bytes, modified: int = 0) -> None:
    # Do not reveal owner and mode on this machine; the default owner, root, is ignored unless root unpacks.
    member = tarfile.TarInfo(name)
    member.size = len(content)
    # Python detects stale bytecode by the source's modification time and size: with a constant time, a host that
    # unpacks version 1.0.1 over 1.0.0 could keep running the bytecode of 1.0.0.
    member.mtime = modified
    member.mode = 0o644
    archive.addfile(member, io.BytesIO(content))
