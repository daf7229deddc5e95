"""Reads requirements files that `make requirements` has written."""

from pathlib import Path


def packages(file: Path) -> list[str]:
    """One line per package, with its marker and hashes."""
    lines = file.read_text().replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
