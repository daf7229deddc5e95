"""Requirements files as `make requirements` writes them."""

from pathlib import Path


def packages(file: Path) -> list[str]:
    """A line for each package, with its marker and its hashes."""
    lines = file.read_text().replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
