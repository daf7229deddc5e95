"""The limit that RSA sets: each reading needs one private-key operation of RSA-2048."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sparkle_app.envelope.keyring import Keyring
from sparkle_app.envelope.rsa import decrypt_each
from sparkle_app.envelope.rsa_multibuffer import Multibuffer, MultibufferUnavailableError
from sparkle_app.ingest.decryption_pool import DecryptionPool
from sparkle_app.model.record import Record
from sparkle_app.model.time import from_seconds
from sparkle_app.plugin.discovery import load_plugins


def openssl(cores: int, seconds: int = 3) -> float:
    """Private-key operations per second of ``openssl speed``, with one process per core."""
    command = ["openssl", "speed", "-seconds", str(seconds), "-multi", str(cores), "rsa2048"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"^rsa 2048 bits\s+\S+\s+\S+\s+([0-9.]+)", done.stdout, re.MULTILINE)
    assert found, f"openssl speed: expected a line 'rsa 2048 bits', found {done.stdout[-300:]}"
    return float(found[1])


def multibuffer() -> bool:
    """Whether this machine supports multi-buffer RSA."""
    try:
        Multibuffer()
    except MultibufferUnavailableError as error:
        print(f"multi-buffer RSA is not measured: {error}", file=sys.stderr)
        return False
    return True


def pool(certs: Path, plugins: Path, records: Sequence[bytes], together: bool) -> float:
    """Records per second that the decryption pool decrypts while nothing else runs.

    Arguments:
        together: use multi-buffer RSA.
    """
    now = from_seconds(time.time())
    waiting = [Record("telemetry", 0, offset, now, value) for offset, value in enumerate(records)]
    keyring = Keyring(certs)
    decrypt = Multibuffer().decrypt if together else decrypt_each
    pool_ = DecryptionPool(keyring, load_plugins(plugins).by_name, 0, decrypt)

    async def run() -> float:
        started = time.perf_counter()
        outcomes = await pool_.decrypt(waiting)
        took = time.perf_counter() - started
        assert not any(outcome.errors for outcome in outcomes), "expected readings, found invalid records"
        return len(waiting) / took

    try:
        return asyncio.run(run())
    finally:
        pool_.close()
