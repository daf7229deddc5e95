"""The decryption pool gives the same outcomes as the function without a pool, and its processes end."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from sparkle_app.envelope.keyring import Keyring
from sparkle_app.envelope.rsa import Ciphertexts, decrypt_each
from sparkle_app.ingest.decryption_pool import BrokenPoolError, DecryptionPool, decrypt_readings
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.record import Outcome, Record
from sparkle_app.model.time import from_seconds
from sparkle_app.plugin_api import Plugin, Reading, StoredReading
from tests.support.collector import Collector
from tests.support.eventually import eventually
from tests.support.worker import PROJECT


class Odd(float):
    """Can be pickled, but not unpickled."""

    def __new__(cls, value: float, unit: str) -> "Odd":
        return super().__new__(cls, value)


class Anything(Plugin):
    """Accepts any value, and returns unpicklable objects for some."""

    def validate(self, key: str, value: Any) -> Any:
        if value == "memory":
            raise MemoryError
        if value == "exit":
            sys.exit("secret")
        if value == "busy":
            # Never releases the GIL.
            re.fullmatch(r"(a+)+b", "a" * 40)
        return (
            {"lock": threading.Lock(), "odd": Odd(1.0, "K"), **SPECIAL}.get(value, value)
            if type(value) is str
            else value
        )

    def numeric_value(self, reading: StoredReading) -> float | None:
        return reading.value if isinstance(reading.value, float) else None


SPECIAL: dict[str, Any] = {"surrogate": "\ud800", "tuple": (1, 2)}
PLUGINS = {"Any": Anything()}


@pytest.fixture
def collector(tmp_path: Path) -> Collector:
    return Collector(tmp_path)


@pytest.fixture
def pool(tmp_path: Path, collector: Collector) -> Iterator[DecryptionPool]:
    pool = DecryptionPool(Keyring(tmp_path), PLUGINS, 2, decrypt_each)
    yield pool
    pool.close()


def records(collector: Collector, values: Sequence[object]) -> list[Record]:
    now = datetime.now()
    sent = [
        collector.record(f"host {n % 7}", "Any", f"key {n}", value, now) for n, value in enumerate(values)
    ]
    sent += [b"junk", collector.record("host", "None such", "key", 1.0, now)]
    at = from_seconds(now.timestamp())
    return [Record("telemetry", 3, n, at, value) for n, value in enumerate(sent)]


async def test_values_keep_their_types(pool: DecryptionPool, collector: Collector) -> None:
    """Also in a chunk with a value that only pickle preserves."""
    ordinary = [1, 1.0, True, -0.0, "", None, {"a": [1, None]}, -(2**63), 2**63]
    for special in ([], [10**40], ["surrogate"], ["tuple"]):
        values = [*ordinary, *special]
        outcomes = await pool.decrypt(records(collector, values)[:-2])
        found = [reading.value for outcome in outcomes for reading in outcome.readings]
        expected = [SPECIAL.get(value, value) if type(value) is str else value for value in values]
        assert [(type(value), repr(value)) for value in found] == [
            (type(value), repr(value)) for value in expected
        ]


def plain(outcomes: list[Outcome]) -> list[Reading | str]:
    """The single reading or error of each record."""
    found: list[Reading | str] = []
    for outcome in outcomes:
        results: list[Reading | str] = [*outcome.readings, *map(str, outcome.errors)]
        (one,) = results
        found.append(one)
    return found


async def test_the_pool_returns_the_same_outcomes_as_decrypt_readings(
    pool: DecryptionPool, collector: Collector, tmp_path: Path
) -> None:
    values = [float(n) for n in range(300)] + [None, "text", {"a": [1, 2]}, 10**40, 1.5]
    many = records(collector, values)
    outcomes = await pool.decrypt(many)
    assert [outcome.record for outcome in outcomes] == many
    found = plain(outcomes)
    assert found == plain(decrypt_readings(many, Keyring(tmp_path), PLUGINS, decrypt_each))
    assert [each.value for each in found if isinstance(each, Reading)] == values
    assert [each for each in found if isinstance(each, str)] == [
        str(InvalidRecordError(Reason.NOT_JSON, "JSON is malformed: invalid character (byte 0)")),
        str(InvalidRecordError(Reason.UNKNOWN_PLUGIN, "no installed plugin has the NAME in the payload")),
    ]
    assert await pool.decrypt([]) == []


async def test_chunks_are_multiples_of_the_lanes_and_use_the_given_function(
    collector: Collector, tmp_path: Path
) -> None:
    sizes = tmp_path / "sizes"

    def decrypt_none(ciphertexts: Ciphertexts) -> list[bytes | None]:
        with sizes.open("a") as file:
            file.write(f"{len(ciphertexts)}\n")
        return [None] * len(ciphertexts)

    pool = DecryptionPool(Keyring(tmp_path), PLUGINS, 2, decrypt_none)
    outcomes = await pool.decrypt(records(collector, [1.0] * 699)[:-2])
    pool.close()
    assert {error.reason for outcome in outcomes for error in outcome.errors} == {Reason.UNDECRYPTABLE}
    assert not any(outcome.readings for outcome in outcomes)
    assert len(outcomes) == 699
    assert sorted(map(int, sizes.read_text().split())) == [699 % 240, 240, 240]


@pytest.mark.parametrize("value", ["lock", "odd"])
async def test_an_unpicklable_value_is_rejected(
    pool: DecryptionPool, collector: Collector, value: str
) -> None:
    first, second, third, *_ = await pool.decrypt(records(collector, [1.0, value, 2.0]))
    assert [each.value for each in [*first.readings, *third.readings]] == [1.0, 2.0]
    assert [error.reason for error in second.errors] == [Reason.INVALID_VALUE]
    assert not second.readings


async def test_a_plugin_that_exits_rejects_only_its_reading(
    pool: DecryptionPool, collector: Collector
) -> None:
    first, second, third, *_ = await pool.decrypt(records(collector, [1.0, "exit", 2.0]))
    assert [each.value for each in [*first.readings, *third.readings]] == [1.0, 2.0]
    assert [(error.reason, error.detail) for error in second.errors] == [
        (Reason.INVALID_VALUE, "validate or numeric_value of Any raised SystemExit")
    ]


async def test_a_memory_error_does_not_reject_the_record(pool: DecryptionPool, collector: Collector) -> None:
    with pytest.raises(MemoryError):
        await pool.decrypt(records(collector, ["memory"]))


async def test_a_killed_process_raises_broken_pool_error(tmp_path: Path, collector: Collector) -> None:
    # Servers of other tests are children as well.
    others = set(psutil.Process().children())
    pool = DecryptionPool(Keyring(tmp_path), PLUGINS, 2, decrypt_each)
    processes = set(psutil.Process().children()) - others
    assert len(processes) == 2
    # Both: a remaining one could decrypt the chunk before the pool notices.
    for process in processes:
        process.kill()
    with pytest.raises(BrokenPoolError):
        await pool.decrypt(records(collector, [1.0]))
    pool.close()


def test_processes_ignore_signals_and_exit_with_their_parent(tmp_path: Path, collector: Collector) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from tests.unit.test_decryption_pool import PLUGINS, records; from tests.support.collector import Collector\n"
        "from sparkle_app.ingest.decryption_pool import DecryptionPool\n"
        "from sparkle_app.envelope.keyring import Keyring\n"
        "from sparkle_app.envelope.rsa import decrypt_each\n"
        "collector = Collector(Path(sys.argv[1]), 2)\n"
        "pool = DecryptionPool(Keyring(Path(sys.argv[1])), PLUGINS, 3, decrypt_each); print('created', flush=True)\n"
        "asyncio.run(pool.decrypt(records(collector, ['busy'])))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with contextlib.ExitStack() as stack:
        parent = stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT, env={**os.environ})
        )
        stack.callback(parent.kill)
        assert parent.stdout
        assert parent.stdout.readline() == b"created\n"
        children = psutil.Process(parent.pid).children()
        assert len(children) == 3
        for child in children:
            child.send_signal(signal.SIGINT)
            child.send_signal(signal.SIGTERM)
        assert not psutil.wait_procs(children, timeout=0.5)[0]
    # The process that inherits them may leave zombies.
    eventually(lambda: [each for each in children if running(each)], lambda left: not left, 10)


def running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
