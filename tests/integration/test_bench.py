"""The benchmark measures what it says, and the handler costs no more beside RSA than it did."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.hashes import SHA1

from tests.support.worker import PROJECT

pytestmark = pytest.mark.kafka
READINGS = 10_000


def test_the_benchmark_of_one_worker(tmp_path: Path) -> None:
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
    # Rates are not compared: other tests run beside, and each is of another moment.
    assert ours["limit"] > 0 < ours["rate"]
    assert done.stdout.count("\n") == 4
    # Each reading was decrypted, and that takes what RSA takes: with all that opening is, 1.1 times as much.
    assert 0.5 < ours["decrypting"] / 1000 / decryption() < 2
    # All else, SQLite included, takes 0.15 to 0.25 of it, also beside other tests: CPU time of the same seconds.
    assert ours["worker"] / ours["decrypting"] < 0.35


def decryption() -> float:
    """CPU seconds of one."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    padding = OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None)
    ciphertext = key.public_key().encrypt(b"reading", padding)
    started = time.process_time()
    for _ in range(1000):
        key.decrypt(ciphertext, padding)
    return (time.process_time() - started) / 1000
