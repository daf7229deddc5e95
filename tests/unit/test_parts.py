"""The parts of a worker are built in an order that is safe for forking."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparkle_app.config.loading import load_settings
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.worker.parts import build_parts
from tests.support.keys import private_key_pem

# Prints the running threads at each fork, then the number of forked processes and whether the key was created.
BUILD = """
import os, sys, threading
from pathlib import Path
from sparkle_app.worker.parts import build_parts
from sparkle_app.config.loading import load_settings

def report() -> None:
    # Flushed: a child would print a buffered line again.
    print("fork with", [each.name for each in threading.enumerate()], flush=True)

os.register_at_fork(before=report)
parts = build_parts(load_settings(Path(sys.argv[1])), {})
print(len(parts.pool._pool._processes), Path(sys.argv[1]).with_name("certs").joinpath("internal_key").exists())
parts.pool.close()
"""


@pytest.mark.parametrize("options", [(), ("-O",)])
def test_processes_are_forked_before_threads_start(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "rsa_key_1").write_bytes(private_key_pem())
    (tmp_path / "settings.yaml").write_text("ingest: {processes: 2}\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SPARKLE_")}
    built = subprocess.run(
        [sys.executable, *options, "-c", BUILD, str(tmp_path / "settings.yaml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    assert built.returncode == 0, built.stderr
    assert built.stdout.splitlines() == ["fork with ['MainThread']"] * 2 + ["2 False"]


def test_missing_private_keys_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("{}\n")
    with pytest.raises(ConfigurationError, match="certs: expected private keys"):
        build_parts(load_settings(tmp_path / "settings.yaml"), {})
