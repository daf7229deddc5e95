"""uPlot, which draws the charts: two files that the package youplot contains."""

import hashlib
import logging
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from sparkle_app.runtime.terminal import printable

_PACKAGE = "youplot"
_SHA256 = {
    # uPlot 1.6.31, as the npm package uplot has it.
    "uplot.iife.min.js": "2d27e8ad3d228164525ce213f9dc716f39b4e3aee0cc773fb3491c96cf4921a2",
    "uplot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}

logger = logging.getLogger(__name__)


def chart_files() -> dict[str, bytes]:
    """The library by names of its files: an ES module, whose default export is ``uPlot``, and its style sheet.

    If it is not installed, the export is null, and charts are shown as tables.
    """
    found = _vendored()
    if found is None:
        return {"uplot.js": b"export default null;\n", "uplot.css": b""}
    script, style = found
    return {"uplot.js": script + b"\nexport default uPlot;\n", "uplot.css": style}


def _vendored() -> list[bytes] | None:
    """The files, only if their contents are known. The package is not imported: it is only a carrier."""
    try:
        files = {file.name: Path(str(file.locate())) for file in distribution(_PACKAGE).files or []}
        contents = [files[name].read_bytes() for name in _SHA256]
    except PackageNotFoundError:
        logger.info("charts are shown as tables: the package %s is not installed", _PACKAGE)
        return None
    except (KeyError, OSError) as error:
        _warn(f"{type(error).__name__} {error}")
        return None
    if [hashlib.sha256(each).hexdigest() for each in contents] != list(_SHA256.values()):
        _warn("other contents")
        return None
    return contents


def _warn(found: str) -> None:
    logger.warning(
        "charts are shown as tables: expected uPlot 1.6.31 in the package %s, found %s; install %s==1.0.0",
        _PACKAGE,
        printable(found),
        _PACKAGE,
    )
