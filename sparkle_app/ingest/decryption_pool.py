"""Records are parsed, decrypted and validated (:func:`decrypt_readings`) in a pool of processes.

In threads, each decryption would wait for the interpreter lock twice, and the event loop with it.
"""

import asyncio
import ctypes
import math
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain

import msgspec

from sparkle_app.envelope.keyring import Keyring
from sparkle_app.envelope.rsa import Decrypt, decrypt_each
from sparkle_app.envelope.rsa_multibuffer import LANES
from sparkle_app.envelope.v1 import decrypt_records
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.reading import Reading
from sparkle_app.model.record import Outcome, Record
from sparkle_app.plugin_api import InvalidValue, Plugin

PluginsByName = Mapping[str, Plugin]
_PLAIN = {float, int, str, bool, type(None)}
# RSA takes an eighth of a millisecond or more: handing over costs little beside 16 of them, and nothing beside 240.
_SMALLEST_CHUNK, _LARGEST_CHUNK = 16, 240


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class BrokenPoolError(Exception):
    """A process that decrypts was ended by something else."""


class DecryptionPool:
    """Opens batches of records in processes of its own, which end with this one, however it ends.

    Make it before any thread runs: the processes are forked, so that they share the memory of what is loaded.

    Arguments:
        keyring: the private keys.
        plugins: the server halves of the installed plugins, by NAME.
        processes: how many decrypt at the same time; 0 for as many as there are cores.
        decrypt: the private operation.
    """

    def __init__(
        self, keyring: Keyring, plugins: PluginsByName, processes: int, decrypt: Decrypt = decrypt_each
    ) -> None:
        self._processes = processes or _cores()
        self._pool = ProcessPoolExecutor(
            self._processes,
            mp_context=multiprocessing.get_context("fork"),
            initializer=_initialize,
            initargs=(keyring, plugins, decrypt),
        )
        # The first task starts them all.
        self._pool.submit(os.getpid).result()

    async def decrypt(self, records: Sequence[Record]) -> list[Outcome]:
        """For each record, in order, its readings, or why it has none.

        Raises:
            BrokenPoolError: when a process is gone; there is no way on but to start again.
        """
        share = -(-len(records) // self._processes)
        # Whole lanes: where eight are decrypted at once, a chunk leaves none over.
        size = -(-max(_SMALLEST_CHUNK, min(share, _LARGEST_CHUNK)) // LANES) * LANES
        chunks = [records[start : start + size] for start in range(0, len(records), size)]
        loop = asyncio.get_running_loop()
        try:
            packed = await asyncio.gather(
                *(loop.run_in_executor(self._pool, _decrypt_chunk, chunk) for chunk in chunks)
            )
        except BrokenProcessPool as error:
            raise BrokenPoolError from error
        # The records are here: what comes back of each is its readings and errors.
        decrypted = chain.from_iterable(map(pickle.loads, packed))
        return [Outcome(record, *each) for record, each in zip(records, decrypted, strict=True)]

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)


def decrypt_readings(
    records: Sequence[Record], keyring: Keyring, plugins: PluginsByName, decrypt: Decrypt = decrypt_each
) -> list[Outcome]:
    """For each record, in order, its readings, validated, or why it has none."""
    outcomes = decrypt_records(records, keyring, decrypt)
    for outcome in outcomes:
        decrypted, outcome.readings = outcome.readings, []
        for reading in decrypted:
            try:
                outcome.readings.append(_validated(reading, plugins))
            except InvalidRecordError as bad:
                outcome.errors.append(bad)
    return outcomes


def _validated(reading: Reading, plugins: PluginsByName) -> Reading:
    plugin = plugins.get(reading.plugin)
    if plugin is None:
        why = "no installed plugin has the NAME that the payload gives"
        raise InvalidRecordError(Reason.UNKNOWN_PLUGIN, why, reading.index)
    try:
        valid = msgspec.structs.replace(reading, value=plugin.validate(reading.key, reading.value))
        # Whatever it raises is known here, where it concerns this reading only.
        measured = plugin.numeric_value(valid.as_stored())
        if measured is not None and not math.isfinite(measured):
            raise InvalidValue("expected a finite number to aggregate")
        return _checked_picklable(valid)
    except InvalidValue as error:
        raise InvalidRecordError(Reason.INVALID_VALUE, str(error), reading.index) from error
    except MemoryError:
        # The process's fault, not the reading's.
        raise
    except Exception as error:
        # A plugin's mistake concerns its own readings only. Its text may quote the value, so it stays here.
        why = f"{reading.plugin}'s validate or numeric_value raised {type(error).__name__}"
        raise InvalidRecordError(Reason.INVALID_VALUE, why, reading.index) from error


def _checked_picklable(reading: Reading) -> Reading:
    """What a plugin made of a value may be something that cannot be handed over."""
    if type(reading.value) not in _PLAIN:
        try:
            pickle.loads(pickle.dumps(reading))
        except MemoryError:
            raise
        except Exception as error:
            raise InvalidValue(f"expected a value that can be pickled: {type(error).__name__}") from error
    return reading


# In the processes.

_shared: tuple[Keyring, PluginsByName, Decrypt]
_PR_SET_PDEATHSIG = 1  # prctl(2)


def _initialize(keyring: Keyring, plugins: PluginsByName, decrypt: Decrypt) -> None:
    global _shared  # noqa: PLW0603
    _shared = keyring, plugins, decrypt
    # Signals to the whole group are the worker's affair, whose event loop would else be told of them from here.
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        # Also where a plugin never gives the interpreter back, which the thread below would need.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(0)


def _decrypt_chunk(records: Sequence[Record]) -> bytes:
    outcomes = decrypt_readings(records, *_shared)
    return pickle.dumps([(each.readings, each.errors) for each in outcomes], pickle.HIGHEST_PROTOCOL)
