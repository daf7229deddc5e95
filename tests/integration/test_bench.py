"""The benchmark runs, its figures are plausible, and the handler's CPU time relative to RSA has not grown."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.capacity import decryption_seconds
from tests.support.worker import PROJECT

pytestmark = pytest.mark.kafka
READINGS = 10_000


def test_the_benchmark_measures_one_worker(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    command = [sys.executable, "-m", "benchmarks", f"--readings={READINGS}", "--repeat=1", f"--json={file}"]
    done = subprocess.run(
        [*command, "--only=handler, SQLite, 1 worker, 200"],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        cwd=PROJECT,
    )
    assert done.returncode == 0, done.stderr
    ((ours,),) = json.loads(file.read_text())["rates"].values()
    # Rates are not compared: other tests run at the same time, and the rates are measured one after the other.
    assert ours["limit"] > 0 < ours["rate"]
    assert done.stdout.count("\n") == 4
    # Parsing, decryption and validation together take about 1.1 times the CPU time of the RSA operation.
    assert 0.5 < ours["decrypting"] / 1000 / decryption_seconds() < 2
    # Everything else, including SQLite, takes 0.15 to 0.25 of that. Both are CPU times of the same period, so other
    # tests that run meanwhile hardly affect the ratio.
    assert ours["worker"] / ours["decrypting"] < 0.35
