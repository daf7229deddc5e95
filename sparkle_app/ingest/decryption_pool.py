"""The decryption pool: processes that parse, decrypt and validate records (:func:`decrypt_readings`).

Threads are not sufficient: each decryption acquires the global interpreter lock twice, and delays the event loop.
"""

import asyncio
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain

import msgspec

from sparkle_app.envelope.keyring import Keyring
from sparkle_app.envelope.rsa import Decrypt
from sparkle_app.envelope.rsa_multibuffer import LANES
from sparkle_app.envelope.v1 import decrypt_records
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.reading import Reading
from sparkle_app.model.record import Outcome, Record
from sparkle_app.plugin_api import InvalidValue, Plugin
from sparkle_app.plugin_api.numeric import number_of
from sparkle_app.runtime.cores import usable_cores

PluginsByName = Mapping[str, Plugin]
_PLAIN = {float, int, str, bool, type(None)}
# Several times as fast as pickle, in both processes.
_pack = msgspec.msgpack.Encoder().encode
_unpack_records = msgspec.msgpack.Decoder(list[Record]).decode
_unpack_readings = msgspec.msgpack.Decoder(list[list[Reading]]).decode
Pickled = dict[int, tuple[list[Reading], list[InvalidRecordError]]]
"""Readings and errors by index of the record: those with errors, and those with values that only pickle preserves."""
# An RSA decryption takes 0.125 ms or more. The overhead of a task is small for 16 of them, negligible for 240.
_MIN_CHUNK, _MAX_CHUNK = 16, 240


_IGNORED = (signal.SIGINT, signal.SIGTERM)
"""Only the parent handles them."""


class BrokenPoolError(Exception):
    """A process of the pool ended unexpectedly."""


class DecryptionPool:
    """Decrypts batches of records in child processes, which end when this process ends, for whatever reason.

    Create it before any thread is started: the processes are forked, to share the memory of loaded modules.

    Arguments:
        keyring: the private keys.
        plugins: the server halves of the installed plugins, by NAME.
        processes: number of processes; 0: one for each core that this process may use.
        decrypt: the RSA private-key operation.
    """

    def __init__(self, keyring: Keyring, plugins: PluginsByName, processes: int, decrypt: Decrypt) -> None:
        self._processes = processes or usable_cores()
        self._pool = ProcessPoolExecutor(
            self._processes,
            mp_context=multiprocessing.get_context("fork"),
            initializer=_initialize,
            initargs=(keyring, plugins, decrypt),
        )
        # With fork, the first task starts all processes. Signals are blocked until a process ignores them.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED)
        try:
            self._pool.submit(os.getpid).result()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    async def decrypt(self, records: Sequence[Record]) -> list[Outcome]:
        """The outcome of each record, in order: its readings, or an error.

        Raises:
            BrokenPoolError: if a process has ended. The pool cannot be used any more.
        """
        share = -(-len(records) // self._processes)
        # A multiple of LANES: multi-buffer RSA decrypts eight payloads at once.
        size = -(-max(_MIN_CHUNK, min(share, _MAX_CHUNK)) // LANES) * LANES
        chunks = [records[start : start + size] for start in range(0, len(records), size)]
        loop = asyncio.get_running_loop()
        try:
            packed = await asyncio.gather(
                *(loop.run_in_executor(self._pool, _decrypt_chunk, _pack(chunk)) for chunk in chunks)
            )
        except BrokenProcessPool as error:
            raise BrokenPoolError from error
        # The processes return only readings and errors, not the records themselves.
        decrypted = chain.from_iterable(map(_unpack, packed))
        return [Outcome(record, *each) for record, each in zip(records, decrypted, strict=True)]

    def close(self) -> None:
        """Stop the processes."""
        self._pool.shutdown(cancel_futures=True)


def decrypt_readings(
    records: Sequence[Record], keyring: Keyring, plugins: PluginsByName, decrypt: Decrypt
) -> list[Outcome]:
    """The outcome of each record, in order: its validated readings, or errors."""
    outcomes = decrypt_records(records, keyring, decrypt)
    for outcome in outcomes:
        decrypted, outcome.readings = outcome.readings, []
        for reading in decrypted:
            try:
                outcome.readings.append(validated(reading, plugins))
            except InvalidRecordError as error:
                outcome.errors.append(error)
    return outcomes


def validated(reading: Reading, plugins: PluginsByName) -> Reading:
    """The reading with the value as its plugin will store it.

    Raises:
        InvalidRecordError: if there is no such plugin, or it rejects the value.
    """
    plugin = plugins.get(reading.plugin)
    if plugin is None:
        detail = "no installed plugin has the NAME in the payload"
        raise _invalid(Reason.UNKNOWN_PLUGIN, detail, reading)
    try:
        valid = msgspec.structs.replace(reading, value=plugin.validate(reading.key, reading.value))
        # Called here so that an exception rejects this reading only, not a batch that is already stored.
        number_of(plugin, valid.as_stored())
        return _require_picklable(valid)
    except InvalidValue as error:
        raise _invalid(Reason.INVALID_VALUE, str(error), reading) from error
    except MemoryError:
        # Not caused by the reading.
        raise
    # A plugin may even call sys.exit().
    except (Exception, SystemExit) as error:
        # A defect of a plugin affects its own readings only. The exception's text is omitted: it may quote the value.
        detail = f"validate or numeric_value of {reading.plugin} raised {type(error).__name__}"
        raise _invalid(Reason.INVALID_VALUE, detail, reading) from error


def _invalid(reason: Reason, detail: str, reading: Reading) -> InvalidRecordError:
    return InvalidRecordError(reason, detail, reading.index, reading.plugin, reading.key)


def _require_picklable(reading: Reading) -> Reading:
    """The reading itself, if it can be sent to the parent process: a plugin may return any object as the value."""
    if type(reading.value) not in _PLAIN:
        try:
            pickle.loads(pickle.dumps(reading))
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:
            raise InvalidValue(
                f"expected a picklable value, but pickling raised {type(error).__name__}"
            ) from error
    return reading


def _unpack(packed: tuple[bytes, bytes]) -> Iterator[tuple[list[Reading], list[InvalidRecordError]]]:
    readings, data = packed
    pickled: Pickled = pickle.loads(data) if data else {}
    for index, plain in enumerate(_unpack_readings(readings)):
        yield pickled.get(index) or (plain, [])


# Everything below runs in the child processes.

_arguments: tuple[Keyring, PluginsByName, Decrypt]
_PR_SET_PDEATHSIG = 1  # prctl(2)


def _initialize(keyring: Keyring, plugins: PluginsByName, decrypt: Decrypt) -> None:
    global _arguments  # noqa: PLW0603
    _arguments = keyring, plugins, decrypt
    # The wakeup descriptor is inherited from the parent: writes would wake its event loop.
    signal.set_wakeup_fd(-1)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _IGNORED)
    if sys.platform == "linux":
        # Works even if a plugin never releases the GIL, which the thread below needs.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(0)


def _decrypt_chunk(packed: bytes) -> tuple[bytes, bytes]:
    outcomes = decrypt_readings(_unpack_records(packed), *_arguments)
    to_pickle = {index for index, each in enumerate(outcomes) if not _is_plain(each)}
    plain = [[] if index in to_pickle else each.readings for index, each in enumerate(outcomes)]
    try:
        readings = _pack(plain)
    except (OverflowError, UnicodeEncodeError):
        # Integers beyond 64 bits, and strings with surrogates.
        readings, to_pickle = _pack([[] for _ in outcomes]), set(range(len(outcomes)))
    pickled: Pickled = {index: (outcomes[index].readings, outcomes[index].errors) for index in to_pickle}
    return readings, pickle.dumps(pickled, pickle.HIGHEST_PROTOCOL) if pickled else b""


def _is_plain(outcome: Outcome) -> bool:
    return not outcome.errors and all(type(reading.value) in _PLAIN for reading in outcome.readings)
