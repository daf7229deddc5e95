"""The files of the page: read and compressed once, at start."""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from sparkle_app.web.dashboard.chart_library import chart_files

FOLDER = Path(__file__).parent / "static"
INDEX = "index.html"
_PLACEHOLDER = b"{assets}"
"""In the index: the path of the other files."""
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Asset:
    """A file as it is sent."""

    content_type: str
    body: bytes
    compressed: bytes
    """With gzip."""


@dataclass(frozen=True)
class Assets:
    """All files of the page."""

    hash: str
    """Of all files together. It is part of their path: modules import each other by relative paths, so that a browser
    never mixes the files of two versions."""
    index: Asset
    files: dict[str, Asset]
    """The other files, by path within the folder."""


def load_assets(prefix: str) -> Assets:
    """Read the files.

    Arguments:
        prefix: the path before the hash, with slashes around it.
    """
    contents = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for path in sorted(FOLDER.rglob("*"))
        if path.suffix in _TYPES
    }
    contents.update(chart_files())
    digest = hashlib.sha256()
    for name, body in contents.items():
        digest.update(f"{name}\0{len(body)}\0".encode() + body)
    version = digest.hexdigest()[:16]
    index = contents.pop(INDEX).replace(_PLACEHOLDER, f"{prefix}{version}".encode())
    return Assets(
        version, _asset(INDEX, index), {name: _asset(name, body) for name, body in contents.items()}
    )


def _asset(name: str, body: bytes) -> Asset:
    return Asset(_TYPES[Path(name).suffix], body, gzip.compress(body, mtime=0))
