"""Opening records: parse, decrypt and validate. :func:`open_readings` says what that is; :class:`Opener` does it in
processes beside the event loop.

In threads, each decryption would wait for the interpreter twice, and the event loop with it.
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

import msgspec

from sparkle_app.envelope.keyring import Keyring
from sparkle_app.envelope.rsa import Decrypt, decrypt_each
from sparkle_app.envelope.rsa_multibuffer import LANES
from sparkle_app.envelope.v1 import Reading, Record, open_records
from sparkle_app.model.errors import BadRecord, Reason
from sparkle_app.plugin_api import InvalidValue, Plugin

Opened = Reading | BadRecord
Plugins = Mapping[str, Plugin]
# RSA takes an eighth of a millisecond or more: handing over costs little beside 16 of them, and nothing beside 240.
_SMALLEST_CHUNK, _LARGEST_CHUNK = 16, 240


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class OpenerDied(Exception):
    """A process that decrypts was ended by something else."""


class Opener:
    """Opens batches of records in processes of its own, which end with this one, however it ends.

    Make it before any thread runs: the processes are forked, so that they share the memory of what is loaded.

    Arguments:
        keyring: the private keys.
        plugins: the server halves of the installed plugins, by NAME.
        processes: how many decrypt at the same time; 0 for as many as there are cores.
        decrypt: the private operation.
    """

    def __init__(
        self, keyring: Keyring, plugins: Plugins, processes: int, decrypt: Decrypt = decrypt_each
    ) -> None:
        self._processes = processes or _cores()
        self._pool = ProcessPoolExecutor(
            self._processes,
            mp_context=multiprocessing.get_context("fork"),
            initializer=_begin,
            initargs=(keyring, plugins, decrypt),
        )
        # The first task starts them all.
        self._pool.submit(os.getpid).result()

    async def open(self, records: Sequence[Record]) -> list[Opened]:
        """For each record, in order, its reading or why it is none.

        Raises:
            OpenerDied: when a process is gone; there is no way on but to start again.
        """
        share = -(-len(records) // self._processes)
        # Whole lanes: where eight are decrypted at once, a chunk leaves none over.
        size = -(-max(_SMALLEST_CHUNK, min(share, _LARGEST_CHUNK)) // LANES) * LANES
        chunks = [records[start : start + size] for start in range(0, len(records), size)]
        loop = asyncio.get_running_loop()
        try:
            packed = await asyncio.gather(
                *(loop.run_in_executor(self._pool, _open_chunk, chunk) for chunk in chunks)
            )
        except BrokenProcessPool as error:
            raise OpenerDied from error
        return [each for chunk in packed for each in pickle.loads(chunk)]

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)


def open_readings(
    records: Sequence[Record], keyring: Keyring, plugins: Plugins, decrypt: Decrypt = decrypt_each
) -> list[Opened]:
    """For each record, in order, its reading or why it is none."""
    return [
        opened if isinstance(opened, BadRecord) else _judged(opened, plugins)
        for opened in open_records(records, keyring, decrypt)
    ]


def _judged(reading: Reading, plugins: Plugins) -> Opened:
    try:
        return _validated(reading, plugins)
    except BadRecord as bad:
        return bad


def _validated(reading: Reading, plugins: Plugins) -> Reading:
    plugin = plugins.get(reading.plugin)
    if plugin is None:
        raise BadRecord(Reason.UNKNOWN_PLUGIN, "no installed plugin has the NAME that the payload gives")
    try:
        valid = msgspec.structs.replace(reading, value=plugin.validate(reading.key, reading.value))
        # Whatever it raises is known here, where it concerns this reading only.
        measured = plugin.measure(valid)
        if measured is not None and not math.isfinite(measured):
            raise InvalidValue("expected a finite number to aggregate")
        return valid
    except InvalidValue as error:
        raise BadRecord(Reason.INVALID_VALUE, str(error)) from error
    except MemoryError:
        # The process's fault, not the reading's.
        raise
    except Exception as error:
        # A plugin's mistake concerns its own readings only. Its text may quote the value, so it stays here.
        raise BadRecord(
            Reason.INVALID_VALUE, f"{reading.plugin}'s validate or measure raised {type(error).__name__}"
        ) from error


# In the processes.

_shared: tuple[Keyring, Plugins, Decrypt]
_PLAIN = {float, int, str, bool, type(None)}
_PR_SET_PDEATHSIG = 1  # prctl(2)


def _begin(keyring: Keyring, plugins: Plugins, decrypt: Decrypt) -> None:
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


def _open_chunk(records: Sequence[Record]) -> bytes:
    opened = [_portable(each) for each in open_readings(records, *_shared)]
    return pickle.dumps(opened, pickle.HIGHEST_PROTOCOL)


def _portable(opened: Opened) -> Opened:
    """What a plugin made of a value may be something that cannot be handed over."""
    if isinstance(opened, BadRecord) or type(opened.value) in _PLAIN:
        return opened
    try:
        pickle.loads(pickle.dumps(opened))
    except MemoryError:
        raise
    except Exception as error:
        detail = f"a validated value that cannot be pickled: {type(error).__name__}"
        return BadRecord(Reason.INVALID_VALUE, detail)
    return opened
