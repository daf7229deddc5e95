"""make installs the requirements for the Python that the virtual environment has now."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.worker import PROJECT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout whose virtual environment was created, and filled, with Python 3.98."""
    for name in ("Makefile", "requirements-demo.txt", "requirements-dev.txt"):
        shutil.copy(PROJECT / name, tmp_path)
    library = tmp_path / ".venv/lib/python3.98"
    (library / "site-packages/pip").mkdir(parents=True)
    for name in ("site-packages/pip/__main__.py", ".installed-demo", ".installed-dev"):
        (library / name).touch()
    (tmp_path / ".venv/bin").mkdir()
    return tmp_path


def commands(folder: Path, target: str) -> str:
    """What make would run."""
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", target],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def use_version(folder: Path, version: str) -> None:
    python = folder / ".venv/bin/python"
    python.write_text(f"#!/bin/sh\necho {version}\n")
    python.chmod(0o755)


def test_nothing_is_installed_twice(folder: Path) -> None:
    use_version(folder, "3.98")
    assert commands(folder, "demo") == ".venv/bin/python -m demo\n"


@pytest.mark.parametrize(
    ("target", "file"), [("demo", "requirements-demo.txt"), ("lint", "requirements-dev.txt")]
)
def test_requirements_are_installed_again_after_python_was_upgraded(
    folder: Path, target: str, file: str
) -> None:
    use_version(folder, "3.99")
    first, *others = [line for line in commands(folder, target).splitlines() if " -m " in line]
    assert first.endswith(" || .venv/bin/python -m venv .venv")
    assert others[0].startswith(".venv/bin/python -m pip install ")
    assert others[0].endswith(f" -r {file}")


def test_a_virtual_environment_whose_python_was_removed_is_repaired(folder: Path) -> None:
    (folder / ".venv/bin/python").symlink_to("/usr/bin/python3.98-removed")
    _, removes, creates = commands(folder, "demo").partition("rm -f .venv/bin/python*")
    assert removes
    assert "python3 -m venv .venv\n" in creates
