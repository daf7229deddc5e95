"""The members of config.tar.xz."""

import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from sparkle_app.plugin.manifest import Manifest

# What editors, tests and Python leave in a plugin's folder is not the host's business.
_LEFT_OUT = {"__pycache__", "tests", "test"}
_LEFT_OUT_ENDINGS = (".pyc", ".pyo", "~", ".orig", ".swp", ".bak")


def write_archive(
    file: BinaryIO, config: dict[str, Any], public_key: bytes, plugins: Sequence[Manifest]
) -> None:
    """Write the archive for a collector.

    Arguments:
        file: where to write it.
        config: content of config.yaml.
        public_key: PEM.
        plugins: whose folders go in.
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
        if path.name.startswith(".") or path.name in _LEFT_OUT or path.name.endswith(_LEFT_OUT_ENDINGS):
            continue
        if path.is_dir():
            yield from _files(path)
        elif not (path.name.startswith("test_") and path.suffix == ".py"):
            yield path


def _add(archive: tarfile.TarFile, name: str, content: bytes, modified: int = 0) -> None:
    # Owner and mode of this machine are nobody's business; root's ids are what unpacking as a user ignores.
    member = tarfile.TarInfo(name)
    member.size = len(content)
    # Python tells stale bytecode by its source's time and size: with one time for all, a host that unpacks
    # version 1.0.1 over 1.0.0 would go on running 1.0.0.
    member.mtime = modified
    member.mode = 0o644
    archive.addfile(member, io.BytesIO(content))
